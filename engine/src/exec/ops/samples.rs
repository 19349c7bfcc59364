//! What encoders and classifiers have beside layers: picked rows, class tokens, activations whose slope follows from the
//! result, losses of few classes.

use super::{Call, elements};
use crate::exec::Dispatch;
use crate::exec::cpu::class_sums::ClassSumsParams;
use crate::exec::cpu::class_sums_grad::ClassSumsGradParams;
use crate::exec::cpu::class_token::ClassTokenParams;
use crate::exec::cpu::class_token_grad::ClassTokenGradParams;
use crate::exec::cpu::column_sum::ColumnSumParams;
use crate::exec::cpu::gather_rows::GatherRowsParams;
use crate::exec::cpu::gather_rows_grad::GatherRowsGradParams;
use crate::exec::cpu::relu::ReluParams;
use crate::exec::cpu::relu_grad::ReluGradParams;
use crate::exec::cpu::tanh::TanhParams;
use crate::exec::cpu::tanh_grad::TanhGradParams;
use crate::graph::{OpKind, Shape};

impl Call<'_> {
    pub(super) fn of_result(&self) -> Dispatch {
        let (n, pad) = (self.written(0), [0; 3]);
        match self.op.kind {
            OpKind::Relu => self.simple(&ReluParams { n, pad }),
            OpKind::ReluGrad => self.simple(&ReluGradParams { n, pad }),
            OpKind::Tanh => self.simple(&TanhParams { n, pad }),
            _ => self.simple(&TanhGradParams { n, pad }),
        }
    }

    /// Every sequence has as many rows that are picked.
    pub(super) fn gathered_rows(&self) -> Dispatch {
        let (Shape { rows, cols }, seq) = (self.write_shape(0), self.context.step.dims.sequence);
        let per = elements(self.read_shape(1)) / self.context.step.dims.batch;
        let (first, pad) = (self.row_offset(self.op.writes[0]), [0; 3]);
        if self.op.kind == OpKind::GatherRows {
            return self.simple(&GatherRowsParams { rows, cols, per, seq, first, pad });
        }
        self.simple(&GatherRowsGradParams { rows, cols, per, seq, first, pad })
    }

    /// A row of its own before the rows of every sequence.
    pub(super) fn class_token(&self) -> Dispatch {
        let dims = &self.context.step.dims;
        let (seq, first) = (dims.sequence, self.row_offset(self.op.writes[0]));
        let Shape { rows, cols } = self.write_shape(0);
        match self.op.kind {
            OpKind::ClassToken => self.simple(&ClassTokenParams { rows, cols, seq, first }),
            OpKind::ClassTokenGrad => self.simple(&ClassTokenGradParams { rows, cols, seq, first }),
            _ => {
                let cols = self.read_shape(0).cols;
                self.simple(&ColumnSumParams { rows: dims.batch, cols, stride: seq * cols, pad: [0; 1] })
            }
        }
    }

    pub(super) fn class_sums(&self) -> Dispatch {
        let Shape { rows, cols } = self.read_shape(0);
        let first = self.row_offset(self.op.writes[0]);
        if self.op.kind == OpKind::ClassSums {
            return self.simple(&ClassSumsParams { rows, cols, first, pad: [0; 1] });
        }
        let scale = self.loss_factor(self.op.reads[0]);
        self.simple(&ClassSumsGradParams { rows, cols, scale, first })
    }
}
