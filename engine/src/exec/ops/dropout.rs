//! Dropout: which elements of the whole batch a rank has.

use super::{Block, Call, elements};
use crate::exec::Dispatch;
use crate::exec::cpu::dropout::DropoutParams;
use crate::exec::cpu::dropout_grad::DropoutGradParams;
use crate::exec::cpu::dropout_residual::DropoutResidualParams;
use crate::exec::parameters::fnv1a;
use crate::graph::{Dim, Placement};

impl Call<'_> {
    pub(super) fn dropout(&self) -> Vec<Dispatch> {
        self.dropped().map(|params| self.simple(&params)).collect()
    }

    pub(super) fn residual_dropout(&self, bias: bool) -> Vec<Dispatch> {
        let [x, y, state] = [self.reads[0], self.reads[1], self.reads[self.reads.len() - 1]];
        let bound = [x, y, if bias { self.reads[2] } else { x }, state, self.writes[0], self.writes[1]];
        let call = |params: DropoutParams| {
            let params = DropoutResidualParams(DropoutParams { has_bias: bias.into(), ..params });
            Dispatch::new(&params, bound)
        };
        self.dropped().map(call).collect()
    }

    pub(super) fn dropout_gradient(&self) -> Dispatch {
        self.simple(&DropoutGradParams { n: elements(self.read_shape(0)), scale: self.scale(), pad: [0; 2] })
    }

    /// One over the share that is kept.
    fn scale(&self) -> f32 {
        (1.0 / (1.0 - self.context.dropout)) as f32
    }

    /// Of each run of rows that the rank has, which elements of the whole batch they are. What is computed again is the same
    /// op under a name that ends so.
    fn dropped(&self) -> impl Iterator<Item = DropoutParams> {
        let (id, dims) = (self.op.writes[0], self.context.step.dims);
        let (tensor, cols) = (self.tensor(id), self.write_shape(0).cols);
        let columns = tensor.placement == Placement::Shard(Dim::Cols);
        let key = self.context.seed ^ fnv1a(self.op.name.trim_end_matches(" again"));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the halves of a word; a share of 2³²"
        )]
        let (key, threshold) = ([key as u32, (key >> 32) as u32], (self.context.dropout * 4_294_967_296.0) as u32);
        let number = self.context.micro_batch * self.context.step.mesh.dp + self.context.replica;
        let params = DropoutParams {
            cols,
            own_rows: tensor.shape.rows / dims.batch,
            stride: dims.context,
            first: self.context.context_index,
            sample_rows: tensor.shape.rows / dims.batch * dims.context,
            sample: number * dims.batch,
            column: if columns { self.context.slice_index * cols } else { 0 },
            threshold,
            scale: self.scale(),
            key,
            ..DropoutParams::default()
        };
        let of_block = move |Block { own, whole, rows }: Block| DropoutParams {
            n: rows * cols,
            offset: own * cols,
            row: whole,
            ..params
        };
        self.blocks(id).into_iter().map(of_block)
    }
}
