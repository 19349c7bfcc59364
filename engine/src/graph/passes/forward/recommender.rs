//! Recommenders with embedding tables (Naumov et al. 2019, "DLRM"; Wang et al. 2021, "DCN V2").

use super::Builder;
use crate::graph::{DType, Epilogue, OpKind, Part, Shape, Spread, TensorId};
use crate::model::{Interaction, Recommender};

impl Builder<'_> {
    pub(super) fn recommender(&mut self) {
        let Some(model) = self.model.recommender.clone() else { return };
        let dense = self.bottom(&model);
        let vectors = self.bags(&model);
        let x = self.interaction(&model, dense, vectors);
        let first = if let Interaction::Cross { layers, .. } = model.interaction { layers } else { 0 };
        let mut x = x;
        for (layer, &width) in (first..).zip(&model.top_mlp) {
            self.part = Part::Layer(layer);
            x = self.perceptron("top", x, width);
        }
        self.part = Part::Head;
        let batch = self.graph.dims.batch;
        let targets = self.numbers("targets", Part::Head, batch);
        let logits = self.whole_biased("prediction", x, 1);
        let loss = self.loss("loss");
        self.push(OpKind::BinaryLoss, "loss", vec![logits, targets], vec![loss]);
    }

    fn perceptron(&mut self, what: &str, x: TensorId, width: u32) -> TensorId {
        self.whole_activated(what, x, width, Epilogue::Relu)
    }

    /// The dense features' vector.
    fn bottom(&mut self, model: &Recommender) -> TensorId {
        let shape = Shape::new(self.graph.dims.batch, model.dense_features);
        let features = self.input("dense features", Part::Embedding, shape, DType::F32);
        let mut x = self.op(OpKind::Cast, "features", vec![features], model.dense_features);
        for (number, &width) in (1..).zip(&model.bottom_mlp) {
            x = self.perceptron(&format!("bottom {number}"), x, width);
        }
        x
    }

    /// A vector of every table: the tables lie below each other, and ranks share them as they share experts.
    fn bags(&mut self, model: &Recommender) -> TensorId {
        let (batch, width) = (self.graph.dims.batch, self.model.hidden);
        let ids = self.numbers("ids", Part::Embedding, batch.saturating_mul(model.lookups_of_sample()));
        let rows = u32::try_from(model.rows()).unwrap_or(u32::MAX);
        let tables = self.spread_parameter("tables", rows, width, Spread::Experts);
        let vectors = self.value("vectors", batch.saturating_mul(model.tables()), width);
        self.push(OpKind::EmbeddingBag, "tables", vec![ids, tables], vec![vectors]);
        vectors
    }

    fn interaction(&mut self, model: &Recommender, dense: TensorId, vectors: TensorId) -> TensorId {
        self.part = Part::Layer(0);
        let width = model.interaction_width(self.model.hidden);
        let first = self.op(OpKind::Interaction, "interaction", vec![dense, vectors], width);
        let Interaction::Cross { layers, rank } = model.interaction else { return first };
        let mut x = first;
        for layer in 0..layers {
            self.part = Part::Layer(layer);
            let short = self.whole_linear("cross down", x, rank);
            let u = self.whole_biased("cross up", short, width);
            x = self.op(OpKind::Cross, "cross", vec![first, x, u], width);
        }
        x
    }
}
