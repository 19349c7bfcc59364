//! Embedding tables, interactions and the binary loss of recommenders.

use super::{Call, elements};
use crate::exec::Dispatch;
use crate::exec::cpu::binary_loss::BinaryLossParams;
use crate::exec::cpu::binary_loss_grad::BinaryLossGradParams;
use crate::exec::cpu::cross::CrossParams;
use crate::exec::cpu::cross_grad::CrossGradParams;
use crate::exec::cpu::embedding_bag::EmbeddingBagParams;
use crate::exec::cpu::embedding_bag_update::EmbeddingBagUpdateParams;
use crate::exec::cpu::interaction::InteractionParams;
use crate::exec::cpu::interaction_grad::InteractionGradParams;
use crate::graph::{OpKind, Shape};
use crate::model::Interaction;

impl Call<'_> {
    /// A call for every table of this rank. It looks up for the samples of all ranks, one rank's after the other's.
    pub(super) fn embedding_bags(&self) -> Vec<Dispatch> {
        let (Some(recommender), ranks) = (self.context.recommender, self.context.step.mesh.ep) else {
            return Vec::new();
        };
        let tables = recommender.tables() / ranks;
        let batch = self.context.step.dims.batch * ranks;
        let of_sample = recommender.lookups_of_sample() / ranks;
        let (mut id_offset, mut row_offset) = (0, 0);
        let mut calls = Vec::new();
        // On several ranks all tables are alike.
        for (table, (&rows, &lookups)) in (0..tables).zip(recommender.table_rows.iter().zip(&recommender.lookups)) {
            let params = if self.op.kind == OpKind::EmbeddingBag {
                let cols = self.write_shape(0).cols;
                self.simple(&EmbeddingBagParams {
                    batch,
                    cols,
                    lookups,
                    of_sample,
                    id_offset,
                    row_offset,
                    table,
                    tables,
                })
            } else {
                self.simple(&EmbeddingBagUpdateParams {
                    batch,
                    cols: self.write_shape(0).cols,
                    lookups,
                    of_sample,
                    id_offset,
                    row_offset,
                    table,
                    tables,
                    rows,
                    rate: self.context.learning_rate as f32,
                    unscale: 1.0,
                    pad: [0; 1],
                })
            };
            calls.push(params);
            id_offset += lookups;
            row_offset += rows;
        }
        calls
    }

    pub(super) fn interaction(&self) -> Dispatch {
        let n = self.written(0);
        match self.op.kind {
            OpKind::Cross => return self.simple(&CrossParams { n, pad: [0; 3] }),
            OpKind::CrossGrad => return self.simple(&CrossGradParams { n, pad: [0; 3] }),
            _ => {}
        }
        let Shape { rows: batch, cols } = self.read_shape(0);
        let tables = self.read_shape(1).rows / batch;
        let products = self.context.recommender.is_some_and(|model| model.interaction == Interaction::Dot).into();
        // What came from the ranks of the tables lies by rank, then by sample.
        let params = InteractionParams { batch, cols, tables, products, ranks: self.context.step.mesh.ep, pad: [0; 3] };
        if self.op.kind == OpKind::Interaction {
            return self.simple(&params);
        }
        self.simple(&InteractionGradParams(params))
    }

    pub(super) fn binary_loss(&self) -> Dispatch {
        let (rows, scale) = (elements(self.read_shape(0)), self.loss_factor(self.op.reads[0]));
        if self.op.kind == OpKind::BinaryLoss {
            return self.simple(&BinaryLossParams { rows, scale, pad: [0; 2] });
        }
        self.simple(&BinaryLossGradParams { rows, scale, pad: [0; 2] })
    }
}
