//! Mixtures of experts: routing, rows to experts and back, products of experts.

use super::Call;
use crate::exec::Dispatch;
use crate::exec::cpu::assign::AssignParams;
use crate::exec::cpu::combine::CombineParams;
use crate::exec::cpu::combine_grad_weights::CombineGradWeightsParams;
use crate::exec::cpu::dispatch::DispatchParams;
use crate::exec::cpu::fill::FillParams;
use crate::exec::cpu::matmul::MatmulParams;
use crate::exec::cpu::route::RouteParams;
use crate::exec::cpu::route_grad::RouteGradParams;
use crate::graph::{OpKind, Shape};

impl Call<'_> {
    /// Rows that an expert has of the tokens of one rank.
    fn capacity(&self) -> u32 {
        self.context.step.dims.expert_capacity / self.context.step.dims.stream_ranks
    }

    /// For every expert of this rank its rows with its weights. Rows come from several ranks, one behind the other; of
    /// each, those of an expert are together.
    pub(super) fn grouped_matmul(&self, transpose_b: bool, accumulate: bool) -> Vec<Dispatch> {
        let (experts, capacity) = (self.context.step.dims.local_experts, self.capacity());
        let (a, b, c) = (self.read_shape(0), self.read_shape(1), self.write_shape(0));
        let rows = capacity * experts;
        let params = if accumulate {
            // dW = xᵀ·dy of an expert's rows.
            MatmulParams {
                m: a.cols,
                n: b.cols,
                k: capacity,
                a_row_stride: 1,
                a_col_stride: a.cols,
                b_row_stride: b.cols,
                b_col_stride: 1,
                accumulate: 1,
                a_batch: capacity * a.cols,
                b_batch: capacity * b.cols,
                c_batch: a.cols * b.cols,
                batches: experts,
                ..MatmulParams::default()
            }
        } else {
            let (b_row_stride, b_col_stride) = if transpose_b { (1, b.cols) } else { (b.cols, 1) };
            MatmulParams {
                m: capacity,
                n: c.cols,
                k: a.cols,
                a_row_stride: a.cols,
                a_col_stride: 1,
                b_row_stride,
                b_col_stride,
                a_batch: capacity * a.cols,
                b_batch: b.rows / experts.max(1) * b.cols,
                c_batch: capacity * c.cols,
                batches: experts,
                ..MatmulParams::default()
            }
        };
        let of_rank = |from: u32| {
            let a_offset = from * rows * a.cols;
            let params = if accumulate {
                MatmulParams { a_offset, b_offset: from * rows * b.cols, ..params }
            } else {
                MatmulParams { a_offset, c_offset: from * rows * c.cols, ..params }
            };
            let [a, b] = self.factors();
            Dispatch::new(&params, [a, b, a, self.writes[0]])
        };
        (0..a.rows / rows.max(1)).map(of_rank).collect()
    }

    pub(super) fn routing(&self) -> Vec<Dispatch> {
        let (Shape { rows, cols: experts }, capacity) = (self.read_shape(0), self.capacity());
        if self.op.kind == OpKind::RouteGrad {
            let per_token = self.read_shape(1).cols;
            return vec![self.simple(&RouteGradParams { rows, experts, per_token, capacity })];
        }
        let [weights, assignment, choices] = self.writes[..] else { return Vec::new() };
        let per_token = self.write_shape(0).cols;
        let assign = AssignParams { n: rows * per_token, experts, capacity, pad: [0] };
        vec![
            Dispatch::new(&RouteParams { rows, experts, per_token, pad: [0] }, [self.reads[0], weights, choices]),
            Dispatch::new(&assign, [choices, assignment]),
        ]
    }

    /// Tokens to the rows of their experts, and back. Rows that no token has are zero.
    pub(super) fn exchange_rows(&self) -> Vec<Dispatch> {
        let clear = || {
            let params = FillParams { n: self.written(0), ..FillParams::default() };
            Dispatch::new(&params, [self.writes[0]])
        };
        let (reads, to) = (self.reads, self.writes[0]);
        match self.op.kind {
            OpKind::Dispatch => {
                let (x, per_token) = (self.read_shape(0), self.read_shape(1).cols);
                let params = DispatchParams { tokens: x.rows, cols: x.cols, per_token, weighted: 0 };
                vec![clear(), Dispatch::new(&params, [reads[0], reads[0], reads[1], to])]
            }
            OpKind::DispatchGrad => {
                let (dx, per_token) = (self.write_shape(0), self.read_shape(1).cols);
                let params = CombineParams { tokens: dx.rows, cols: dx.cols, per_token, weighted: 0 };
                vec![Dispatch::new(&params, [reads[0], reads[0], reads[1], to])]
            }
            OpKind::Combine => {
                let (y, per_token) = (self.write_shape(0), self.read_shape(2).cols);
                let params = CombineParams { tokens: y.rows, cols: y.cols, per_token, weighted: 1 };
                vec![Dispatch::new(&params, [reads[0], reads[1], reads[2], to])]
            }
            _ => {
                let (dy, per_token) = (self.read_shape(3), self.read_shape(2).cols);
                let params = DispatchParams { tokens: dy.rows, cols: dy.cols, per_token, weighted: 1 };
                let weights = CombineGradWeightsParams { tokens: dy.rows, cols: dy.cols, per_token, pad: [0] };
                vec![
                    clear(),
                    Dispatch::new(&params, [reads[3], reads[1], reads[2], to]),
                    Dispatch::new(&weights, [reads[0], reads[2], reads[3], self.writes[1]]),
                ]
            }
        }
    }
}
