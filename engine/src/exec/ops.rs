//! From an op of the graph to kernel calls: shapes and places of this rank become parameters.

use super::collectives::copy;
use super::cpu::adamw::AdamwParams;
use super::cpu::add::AddParams;
use super::cpu::assign::AssignParams;
use super::cpu::attention::{APART, AttentionParams, CARRY, CAUSAL};
use super::cpu::attention_delta::AttentionDeltaParams;
use super::cpu::attention_grad_kv::AttentionGradKvParams;
use super::cpu::attention_grad_q::AttentionGradQParams;
use super::cpu::attention_scores::AttentionScoresParams;
use super::cpu::attention_scores_grad::AttentionScoresGradParams;
use super::cpu::attention_softmax::AttentionSoftmaxParams;
use super::cpu::attention_softmax_grad::AttentionSoftmaxGradParams;
use super::cpu::attention_values::AttentionValuesParams;
use super::cpu::attention_values_grad_p::AttentionValuesGradPParams;
use super::cpu::attention_values_grad_v::AttentionValuesGradVParams;
use super::cpu::column_sum::ColumnSumParams;
use super::cpu::combine::CombineParams;
use super::cpu::combine_grad_weights::CombineGradWeightsParams;
use super::cpu::copy::CopyParams;
use super::cpu::cross_entropy::CrossEntropyParams;
use super::cpu::cross_entropy_grad::CrossEntropyGradParams;
use super::cpu::dispatch::DispatchParams;
use super::cpu::embedding::EmbeddingParams;
use super::cpu::embedding_grad::EmbeddingGradParams;
use super::cpu::fill::FillParams;
use super::cpu::gate::GateParams;
use super::cpu::gate_grad::GateGradParams;
use super::cpu::gelu::GeluParams;
use super::cpu::gelu_grad::GeluGradParams;
use super::cpu::latent_join::LatentJoinParams;
use super::cpu::latent_join_grad::LatentJoinGradParams;
use super::cpu::layer_norm::LayerNormParams;
use super::cpu::layer_norm_grad::LayerNormGradParams;
use super::cpu::layer_norm_grad_params::LayerNormGradParamsParams;
use super::cpu::matmul::MatmulParams;
use super::cpu::momentum::MomentumParams;
use super::cpu::position::PositionParams;
use super::cpu::position_grad::PositionGradParams;
use super::cpu::reduce::ReduceParams;
use super::cpu::residual::ResidualParams;
use super::cpu::rms_norm::RmsNormParams;
use super::cpu::rms_norm_grad::RmsNormGradParams;
use super::cpu::rms_norm_grad_params::RmsNormGradParamsParams;
use super::cpu::rope::RopeParams;
use super::cpu::route::RouteParams;
use super::cpu::route_grad::RouteGradParams;
use super::cpu::row_max::RowMaxParams;
use super::cpu::sgd::SgdParams;
use super::cpu::silu::SiluParams;
use super::cpu::silu_grad::SiluGradParams;
use super::cpu::sum_exp::SumExpParams;
use super::cpu::sum_squares::SumSquaresParams;
use super::cpu::swiglu::SwigluParams;
use super::cpu::swiglu_grad::SwigluGradParams;
use super::{Dispatch, ExecError, Format, Slice};
use crate::graph::{DType, Dim, Op, OpKind, Part, Placement, Role, Shape, Spread, StepGraph, Tensor, TensorId};
use crate::scenario::Optimizer;

/// The step, and the place of the rank in its tensor group.
pub struct OpContext<'a> {
    /// The graph.
    pub step: &'a StepGraph,
    /// Which slice of the tensor group the rank holds.
    pub slice_index: u32,
    /// Which tokens of a sequence the rank has: every `dims.context`-th from this one on.
    pub context_index: u32,
    /// Which slice of its sharding group's flat buffers the rank owns.
    pub flat_index: u32,
}

type Calls = Result<Vec<Dispatch>, ExecError>;

/// The kernel calls of a compute op; `reads` and `writes` are its tensors' bytes on the rank.
pub fn dispatches(context: &OpContext<'_>, op: &Op, reads: &[Slice], writes: &[Slice]) -> Calls {
    let call = Call { context, op, reads, writes };
    Ok(match op.kind {
        OpKind::Embedding | OpKind::EmbeddingGrad | OpKind::Position | OpKind::PositionGrad => call.embedding(),
        OpKind::Norm | OpKind::NormGrad | OpKind::NormGradParameters => call.norm(),
        OpKind::Matmul { transpose_a, transpose_b, bias, accumulate } => {
            vec![call.matmul(transpose_a, transpose_b, bias, accumulate)]
        }
        OpKind::GroupedMatmul { transpose_b, accumulate, .. } => call.grouped_matmul(transpose_b, accumulate),
        OpKind::Route | OpKind::RouteGrad => call.routing(),
        OpKind::Dispatch | OpKind::DispatchGrad | OpKind::Combine | OpKind::CombineGrad => call.exchange_rows(),
        OpKind::Rope { inverse } => vec![call.rope(inverse)],
        OpKind::Attention => vec![call.attention(reads[0], call.whole_attention(0), [writes[0], writes[1]])],
        OpKind::AttentionGrad => call.attention_gradient(),
        OpKind::ContextAttention { .. } => {
            vec![call.attention(reads[1], call.context_attention(), [writes[0], writes[1]])]
        }
        OpKind::ContextAttentionGrad { part, .. } => call.context_attention_gradient(part),
        OpKind::AttentionScores
        | OpKind::AttentionSoftmax
        | OpKind::AttentionValues
        | OpKind::AttentionValuesGrad
        | OpKind::AttentionSoftmaxGrad
        | OpKind::AttentionScoresGrad => call.unfused_attention(),
        OpKind::Silu | OpKind::SiluGrad | OpKind::Gate | OpKind::GateGrad => vec![call.eager_activation()],
        OpKind::LatentJoin | OpKind::LatentJoinGrad => vec![call.latent_join()],
        OpKind::KeysValues => vec![call.keys_values(false)],
        OpKind::KeysValuesGrad => vec![call.keys_values(true)],
        OpKind::Gelu | OpKind::GeluGrad | OpKind::SwiGlu | OpKind::SwiGluGrad => vec![call.activation()],
        OpKind::Add | OpKind::Residual { .. } | OpKind::ColumnSum => vec![call.elementwise()],
        OpKind::RowMax | OpKind::SumExp | OpKind::CrossEntropy | OpKind::CrossEntropyGrad => vec![call.loss()],
        OpKind::Fill(value) => vec![call.simple(&FillParams { n: call.written(0), value, ..FillParams::default() })],
        OpKind::SumSquares { copies } => vec![call.sum_squares(copies)],
        OpKind::Update { optimizer: Optimizer::AdamW | Optimizer::Adam, decayed, sliced, times: 1 } => {
            vec![call.adamw(decayed, sliced)]
        }
        OpKind::Update { optimizer: Optimizer::Sgd, times: 1, .. } => {
            vec![call.simple(&SgdParams { n: call.written(0), pad: [0; 3] })]
        }
        OpKind::Update { optimizer: Optimizer::Momentum, times: 1, .. } => {
            vec![call.simple(&MomentumParams { n: call.written(0), pad: [0; 3] })]
        }
        OpKind::Update { .. } | OpKind::Momentum | OpKind::Orthogonalize | OpKind::FactorSums => {
            return Err(ExecError::Optimizer);
        }
        OpKind::ToHost | OpKind::FromHost => vec![copy(reads[0], 0, writes[0], 0, call.written(0))],
        OpKind::HostUpdate { optimizer: Optimizer::AdamW | Optimizer::Adam, decayed, sliced, .. } => {
            call.host_update(decayed, sliced)
        }
        OpKind::HostUpdate { .. } => return Err(ExecError::Optimizer),
        OpKind::OuterGradient | OpKind::OuterStep => return Err(ExecError::UpdateRule),
        OpKind::Accumulate => vec![call.accumulate()],
        OpKind::Split | OpKind::Join => return Err(ExecError::TensorChunks),
        OpKind::Compression(_) => return Err(ExecError::Compression),
        OpKind::Cast => vec![copy(reads[0], 0, writes[0], 0, call.written(0))],
        OpKind::Relu
        | OpKind::ReluGrad
        | OpKind::Tanh
        | OpKind::TanhGrad
        | OpKind::GatherRows
        | OpKind::GatherRowsGrad
        | OpKind::ClassToken
        | OpKind::ClassTokenGrad
        | OpKind::ClassTokenWeightGrad
        | OpKind::ClassSums
        | OpKind::ClassSumsGrad
        | OpKind::Convolution(_)
        | OpKind::ConvolutionInputGrad(_)
        | OpKind::ConvolutionWeightGrad(_)
        | OpKind::BatchNorm
        | OpKind::BatchNormGrad
        | OpKind::BatchNormGradParameters
        | OpKind::Pool(_)
        | OpKind::PoolGrad(_)
        | OpKind::EmbeddingBag
        | OpKind::EmbeddingBagUpdate
        | OpKind::Interaction
        | OpKind::InteractionGrad
        | OpKind::Cross
        | OpKind::CrossGrad
        | OpKind::BinaryLoss
        | OpKind::BinaryLossGrad => return Err(ExecError::Architecture),
        OpKind::Dropout | OpKind::DropoutGrad => return Err(ExecError::Dropout),
        OpKind::Collective { .. } | OpKind::Send(_) | OpKind::Receive(_) => {
            return Err(ExecError::Kernel(format!("`{}` is communication, not a kernel", op.name)));
        }
    })
}

struct Call<'a> {
    context: &'a OpContext<'a>,
    op: &'a Op,
    reads: &'a [Slice],
    writes: &'a [Slice],
}

impl Call<'_> {
    fn tensor(&self, id: TensorId) -> &Tensor {
        self.context.step.tensor(id)
    }

    fn read_shape(&self, index: usize) -> Shape {
        self.tensor(self.op.reads[index]).local
    }

    fn write_shape(&self, index: usize) -> Shape {
        self.tensor(self.op.writes[index]).local
    }

    /// Elements of a written tensor.
    fn written(&self, index: usize) -> u32 {
        elements(self.write_shape(index))
    }

    /// Binds the reads, then the writes, as most kernels do.
    fn simple<P: super::KernelParams>(&self, params: &P) -> Dispatch {
        Dispatch::new(params, [self.reads, self.writes].concat())
    }

    /// The first row of the whole that this rank holds of a tensor.
    fn row_offset(&self, id: TensorId) -> u32 {
        let tensor = self.tensor(id);
        if tensor.placement == Placement::Shard(Dim::Rows) { self.context.slice_index * tensor.local.rows } else { 0 }
    }

    fn embedding(&self) -> Vec<Dispatch> {
        let dims = &self.context.step.dims;
        let (seq, stride, first, pad) =
            (dims.sequence / dims.context, dims.context, self.context.context_index, [0; 2]);
        let (ids, table) = (self.op.reads[0], self.op.writes[0]);
        vec![match self.op.kind {
            OpKind::Embedding => {
                let (out, table) = (self.write_shape(0), self.op.reads[1]);
                let (vocab_offset, vocab_local) = (self.row_offset(table), self.tensor(table).local.rows);
                self.simple(&EmbeddingParams { rows: out.rows, cols: out.cols, vocab_offset, vocab_local })
            }
            OpKind::EmbeddingGrad => {
                let (dx, vocab_offset) = (self.read_shape(1), self.row_offset(table));
                let vocab_local = self.tensor(table).local.rows;
                self.simple(&EmbeddingGradParams { rows: dx.rows, cols: dx.cols, vocab_offset, vocab_local })
            }
            OpKind::Position => {
                let (out, row_offset) = (self.write_shape(0), self.row_offset(self.op.writes[0]));
                self.simple(&PositionParams { rows: out.rows, cols: out.cols, seq, row_offset, stride, first, pad })
            }
            _ => {
                let (dy, row_offset) = (self.read_shape(0), self.row_offset(ids));
                self.simple(&PositionGradParams { rows: dy.rows, cols: dy.cols, seq, row_offset, stride, first, pad })
            }
        }]
    }

    fn norm(&self) -> Vec<Dispatch> {
        let (Shape { rows, cols }, eps) = (self.read_shape(0), self.context.step.dims.norm_eps as f32);
        let pad = [0; 2];
        vec![match (self.op.kind, self.context.step.dims.layer_norm) {
            (OpKind::Norm, true) => self.simple(&LayerNormParams { rows, cols, eps, pad: [0] }),
            (OpKind::Norm, false) => self.simple(&RmsNormParams { rows, cols, eps, pad: [0] }),
            (OpKind::NormGrad, true) => self.simple(&LayerNormGradParams { rows, cols, pad }),
            (OpKind::NormGrad, false) => self.simple(&RmsNormGradParams { rows, cols, pad }),
            (_, true) => self.simple(&LayerNormGradParamsParams { rows, cols, pad }),
            (_, false) => self.simple(&RmsNormGradParamsParams { rows, cols, pad }),
        }]
    }

    /// Transposes are strides; without a bias, `a` is bound in its place and not read.
    fn matmul(&self, transpose_a: bool, transpose_b: bool, bias: bool, accumulate: bool) -> Dispatch {
        let (a, b, c) = (self.read_shape(0), self.read_shape(1), self.write_shape(0));
        let strides = |shape: Shape, transposed: bool| if transposed { (1, shape.cols) } else { (shape.cols, 1) };
        let ((a_row_stride, a_col_stride), (b_row_stride, b_col_stride)) =
            (strides(a, transpose_a), strides(b, transpose_b));
        let params = MatmulParams {
            m: c.rows,
            n: c.cols,
            k: if transpose_a { a.rows } else { a.cols },
            a_row_stride,
            a_col_stride,
            b_row_stride,
            b_col_stride,
            accumulate: accumulate.into(),
            has_bias: bias.into(),
            batches: 1,
            ..MatmulParams::default()
        };
        let [a, b] = self.factors();
        let bias = if bias { self.reads[2] } else { a };
        Dispatch::new(&params, [a, b, bias, self.writes[0]])
    }

    /// What a matrix product reads, as matrix units read it.
    fn factors(&self) -> [Slice; 2] {
        [0, 1].map(|index| {
            let rounded = self.tensor(self.op.reads[index]).dtype == DType::Tf32;
            let slice = self.reads[index];
            Slice { format: if rounded { Format::Tf32 } else { slice.format }, ..slice }
        })
    }

    /// Rows that an expert has of the tokens of one rank.
    fn capacity(&self) -> u32 {
        self.context.step.dims.expert_capacity / self.context.step.dims.stream_ranks
    }

    /// For every expert of this rank its rows with its weights. Rows come from several ranks, one behind the other; of
    /// each, those of an expert are together.
    fn grouped_matmul(&self, transpose_b: bool, accumulate: bool) -> Vec<Dispatch> {
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

    fn routing(&self) -> Vec<Dispatch> {
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
    fn exchange_rows(&self) -> Vec<Dispatch> {
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

    /// Groups of query heads that this rank holds of a fused projection.
    fn groups(&self, qkv: Shape) -> u32 {
        qkv.cols / self.context.step.dims.group_width()
    }

    fn rope(&self, inverse: bool) -> Dispatch {
        let (shape, dims) = (self.read_shape(0), &self.context.step.dims);
        self.simple(&RopeParams {
            rows: shape.rows,
            seq: dims.sequence / dims.context,
            groups: self.groups(shape),
            q_per_group: dims.queries_per_group,
            head_dim: dims.head_dim,
            theta: dims.rope_theta as f32,
            direction: if inverse { -1.0 } else { 1.0 },
            stride: dims.context,
            first: self.context.context_index,
            pad: [0; 3],
        })
    }

    fn latent_join(&self) -> Dispatch {
        let dims = &self.context.step.dims;
        let joins = self.op.kind == OpKind::LatentJoin;
        let (queries, key) =
            if joins { (self.read_shape(0), self.read_shape(2)) } else { (self.write_shape(0), self.write_shape(2)) };
        let params = LatentJoinParams {
            rows: queries.rows,
            seq: dims.sequence / dims.context,
            heads: queries.cols / dims.head_dim,
            plain: dims.head_dim - key.cols,
            rotated: key.cols,
            value: dims.value_dim,
            theta: dims.rope_theta as f32,
            stride: dims.context,
            first: self.context.context_index,
            pad: [0; 3],
        };
        if joins { self.simple(&params) } else { self.simple(&LatentJoinGradParams(params)) }
    }

    /// Attention of whole sequences, as far as this rank's heads go.
    fn whole_attention(&self, flags: u32) -> AttentionParams {
        let dims = &self.context.step.dims;
        let window = dims.window.filter(|window| matches!(self.op.part, Part::Layer(layer) if window.is_in(layer)));
        let groups = self.groups(self.read_shape(0));
        let sizes = [dims.batch, dims.sequence, groups, dims.queries_per_group, dims.head_dim];
        AttentionParams {
            value_dim: dims.value_dim,
            window: window.map_or(0, |window| window.tokens),
            flags: flags | if dims.causal { CAUSAL } else { 0 },
            ..AttentionParams::causal(sizes, (1.0 / f64::from(dims.head_dim).sqrt()) as f32)
        }
    }

    /// Attention of this rank's tokens: to those of all ranks at once, or of one rank after the other.
    fn context_attention(&self) -> AttentionParams {
        let (ranks, rank) = (self.context.step.dims.context, self.context.context_index);
        let (OpKind::ContextAttention { parts, part } | OpKind::ContextAttentionGrad { parts, part }) = self.op.kind
        else {
            return AttentionParams::default();
        };
        let whole = self.whole_attention(APART | if part > 0 { CARRY } else { 0 });
        let whole = AttentionParams {
            queries: whole.queries / ranks,
            query_stride: ranks,
            query_first: rank,
            gather: ranks,
            ..whole
        };
        if parts == 1 {
            return whole;
        }
        // What was handed on `part` times comes from as many ranks before.
        AttentionParams { keys: whole.keys / ranks, key_first: (rank + ranks - part) % ranks, gather: 1, ..whole }
    }

    fn attention(&self, kv: Slice, params: AttentionParams, [out, lse]: [Slice; 2]) -> Dispatch {
        Dispatch::new(&params, [self.reads[0], kv, out, lse])
    }

    fn attention_gradient(&self) -> Vec<Dispatch> {
        let [qkv, out, lse, dout] = self.reads[..] else { return Vec::new() };
        let [dqkv, delta] = self.writes[..] else { return Vec::new() };
        let params = self.whole_attention(0);
        vec![
            Dispatch::new(&AttentionDeltaParams(params), [out, dout, delta]),
            Dispatch::new(&AttentionGradQParams(params), [qkv, qkv, dout, lse, delta, dqkv]),
            Dispatch::new(&AttentionGradKvParams(params), [qkv, qkv, dout, lse, delta, dqkv]),
        ]
    }

    fn context_attention_gradient(&self, part: u32) -> Vec<Dispatch> {
        let [qkv, kv, out, lse, dout] = self.reads[..] else { return Vec::new() };
        let [dqkv, dkv, delta] = self.writes[..] else { return Vec::new() };
        let params = self.context_attention();
        // The sums of rows are the same for all parts.
        let first = (part == 0).then(|| Dispatch::new(&AttentionDeltaParams(params), [out, dout, delta]));
        let rest = [
            Dispatch::new(&AttentionGradQParams(params), [qkv, kv, dout, lse, delta, dqkv]),
            Dispatch::new(&AttentionGradKvParams(params), [qkv, kv, dout, lse, delta, dkv]),
        ];
        first.into_iter().chain(rest).collect()
    }

    /// Takes keys and values out of fused rows, or puts them back.
    fn keys_values(&self, back: bool) -> Dispatch {
        let dims = &self.context.step.dims;
        let fused = if back { self.write_shape(0) } else { self.read_shape(0) };
        let (queries, width) = (dims.queries_per_group * dims.head_dim, dims.head_dim + dims.value_dim);
        let (rows, cols) = (fused.rows * self.groups(fused), width);
        let apart = (0, width);
        let together = (queries, queries + width);
        let ((src_offset, src_stride), (dst_offset, dst_stride)) =
            if back { (apart, together) } else { (together, apart) };
        self.simple(&CopyParams { rows, cols, src_offset, src_stride, dst_offset, dst_stride, pad: [0; 2] })
    }

    /// Attention whose scores and weights are stored.
    fn unfused_attention(&self) -> Vec<Dispatch> {
        let (reads, writes) = (self.reads, self.writes);
        let dims = &self.context.step.dims;
        let keys = dims.sequence;
        // Scores and weights have a column for each head and key.
        let groups = match self.op.kind {
            OpKind::AttentionScores => self.groups(self.read_shape(0)),
            _ => self.read_shape(0).cols / keys / dims.queries_per_group,
        };
        let params = AttentionParams { groups, ..self.whole_attention(0) };
        match self.op.kind {
            OpKind::AttentionScores => vec![self.simple(&AttentionScoresParams(params))],
            OpKind::AttentionSoftmax => vec![self.simple(&AttentionSoftmaxParams(params))],
            OpKind::AttentionValues => vec![self.simple(&AttentionValuesParams(params))],
            OpKind::AttentionValuesGrad => vec![
                Dispatch::new(&AttentionValuesGradPParams(params), [reads[1], reads[2], writes[0]]),
                Dispatch::new(&AttentionValuesGradVParams(params), [reads[0], reads[2], writes[1]]),
            ],
            OpKind::AttentionSoftmaxGrad => vec![self.simple(&AttentionSoftmaxGradParams(params))],
            _ => vec![self.simple(&AttentionScoresGradParams(params))],
        }
    }

    /// SwiGLU in two kernels.
    fn eager_activation(&self) -> Dispatch {
        let (written, pad) = (self.written(0), [0; 3]);
        match self.op.kind {
            OpKind::Silu => self.simple(&SiluParams { n: written, pad }),
            OpKind::Gate => self.simple(&GateParams { n: written, pad }),
            OpKind::GateGrad => self.simple(&GateGradParams { n: written, pad }),
            // Counted by the gradients that come in, half as wide as the one that goes out.
            _ => self.simple(&SiluGradParams { n: elements(self.read_shape(1)), pad }),
        }
    }

    fn activation(&self) -> Dispatch {
        let pad = [0; 3];
        let n = self.written(0);
        match self.op.kind {
            OpKind::Gelu => self.simple(&GeluParams { n, pad }),
            OpKind::GeluGrad => self.simple(&GeluGradParams { n, pad }),
            OpKind::SwiGlu => self.simple(&SwigluParams { n, pad }),
            // Counted by the gradient that comes in, half as wide as the one that goes out.
            _ => self.simple(&SwigluGradParams { n: elements(self.read_shape(1)), pad }),
        }
    }

    fn accumulate(&self) -> Dispatch {
        let params = ReduceParams { n: self.written(0), op: 0, dst_offset: 0, pad: 0 };
        Dispatch::new(&params, [self.reads[0], self.writes[0]])
    }

    fn elementwise(&self) -> Dispatch {
        match self.op.kind {
            // To what is there.
            OpKind::Add if self.op.reads[1] == self.op.writes[0] => self.accumulate(),
            OpKind::Add => self.simple(&AddParams { n: self.written(0), pad: [0; 3] }),
            OpKind::ColumnSum => {
                let Shape { rows, cols } = self.read_shape(0);
                self.simple(&ColumnSumParams { rows, cols, pad: [0; 2] })
            }
            _ => {
                let (cols, bias) = (self.write_shape(0).cols, self.reads.get(2));
                let params = ResidualParams { n: self.written(0), cols, has_bias: bias.is_some().into(), pad: [0] };
                let bias = bias.copied().unwrap_or(self.reads[0]);
                Dispatch::new(&params, [self.reads[0], self.reads[1], bias, self.writes[0]])
            }
        }
    }

    fn loss(&self) -> Dispatch {
        let Shape { rows, cols } = self.read_shape(0);
        let logits = self.tensor(self.op.reads[0]);
        let sharded = logits.placement == Placement::Shard(Dim::Cols);
        let vocab_offset = if sharded { self.context.slice_index * cols } else { 0 };
        let (vocab_total, scale) =
            (self.context.step.dims.vocab, (1.0 / self.context.step.dims.loss_tokens as f64) as f32);
        match self.op.kind {
            OpKind::RowMax => self.simple(&RowMaxParams { rows, cols, vocab_offset, vocab_total }),
            OpKind::SumExp => self.simple(&SumExpParams { rows, cols, vocab_offset, vocab_total }),
            OpKind::CrossEntropy => self.simple(&CrossEntropyParams { rows, scale, pad: [0; 2] }),
            _ => {
                let pad = [0; 3];
                self.simple(&CrossEntropyGradParams { rows, cols, vocab_offset, vocab_total, scale, pad })
            }
        }
    }

    fn adamw(&self, decayed: u64, sliced: bool) -> Dispatch {
        self.simple(&self.adamw_params(decayed, sliced))
    }

    fn adamw_params(&self, decayed: u64, sliced: bool) -> AdamwParams {
        let n = self.written(0);
        let first = if sliced { u64::from(self.context.flat_index) * u64::from(n) } else { 0 };
        let decayed = decayed.saturating_sub(first).min(u64::from(n));
        AdamwParams { n, decayed: u32::try_from(decayed).unwrap_or(n), pad: [0; 2] }
    }

    /// The update of what lies outside the device; a parameter that stays there is the first of the states again.
    fn host_update(&self, decayed: u64, sliced: bool) -> Vec<Dispatch> {
        let params = self.adamw_params(decayed, sliced);
        let update = Dispatch::new(&params, [self.reads, &self.writes[..3]].concat());
        let stays = self.writes.get(3).map(|&parameter| copy(self.writes[0], 0, parameter, 0, params.n));
        std::iter::once(update).chain(stays).collect()
    }

    /// A replicated gradient stands on every rank of the tensor group; each adds its share.
    fn sum_squares(&self, copies: u32) -> Dispatch {
        let (tensor, mesh) = (self.tensor(self.op.reads[0]), self.context.step.mesh);
        // Of experts that lie over the tensor group too, or whose slices do, `copies` counts all ranks.
        let counted = tensor.spread == Spread::Experts && (mesh.ep > 1 || tensor.role != Role::Gradient);
        let copies = copies * if tensor.placement == Placement::Replicate && !counted { mesh.tp } else { 1 };
        let scale = 1.0 / copies as f32;
        self.simple(&SumSquaresParams { n: elements(self.read_shape(0)), scale, pad: [0; 2] })
    }
}

fn elements(shape: Shape) -> u32 {
    u32::try_from(shape.elements()).unwrap_or(u32::MAX)
}
