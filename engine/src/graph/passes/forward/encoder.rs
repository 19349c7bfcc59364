//! Encoder transformers: BERT (Devlin et al. 2019) and the Vision Transformer (Dosovitskiy et al. 2021).

use super::Builder;
use crate::graph::{DType, Epilogue, OpKind, Part, Shape, TensorId};
use crate::model::Model;

impl Builder<'_> {
    /// Predicts masked tokens, and whether the second text follows the first.
    pub(super) fn text_encoder(&mut self) {
        let (hidden, batch) = (self.model.hidden, self.graph.dims.batch);
        let (x, table) = self.embedding();
        let pairs = self.parameter("pair weight", 2, hidden);
        let x = self.op(OpKind::Position, "pairs", vec![x, pairs], hidden);
        let x = self.norm("norm", x);
        let mut x = self.dropout("embedding", x);
        for layer in 0..self.model.layers {
            self.part = Part::Layer(layer);
            x = self.layer_before_norms(x);
        }
        self.part = Part::Head;
        let masked = batch.saturating_mul(Model::masked_tokens(self.graph.dims.sequence));
        self.masked_head(x, table, masked);
        self.pair_head(x, batch);
    }

    /// Norms stand behind what they norm, on the residual stream.
    fn layer_before_norms(&mut self, x: TensorId) -> TensorId {
        let x = self.attention_of(x, x);
        let x = self.norm("attention norm", x);
        let x = self.feed_forward(x, x);
        self.norm("mlp norm", x)
    }

    fn masked_head(&mut self, x: TensorId, table: TensorId, masked: u32) {
        let (hidden, vocab) = (self.model.hidden, self.model.vocab);
        let rows = self.gather("masked tokens", x, masked);
        let targets = self.numbers("targets", Part::Head, masked);
        let transformed = self.whole_biased("transform", rows, hidden);
        let activated = self.op(OpKind::Gelu, "activation", vec![transformed], hidden);
        let normed = self.norm("norm", activated);
        let bias = self.parameter("logits bias", vocab, 1);
        let kind = OpKind::Matmul {
            transpose_a: false,
            transpose_b: true,
            bias: true,
            accumulate: false,
            epilogue: Epilogue::None,
        };
        let logits = self.op(kind, "logits", vec![normed, table, bias], vocab);
        self.cross_entropy("loss", logits, targets);
    }

    fn pair_head(&mut self, x: TensorId, batch: u32) {
        let hidden = self.model.hidden;
        let first = self.gather("first tokens", x, batch);
        let targets = self.numbers("pair targets", Part::Head, batch);
        let pooled = self.whole_activated("pooler", first, hidden, Epilogue::Tanh);
        let logits = self.whole_biased("pair logits", pooled, 2);
        self.whole_cross_entropy("pair loss", logits, targets);
    }

    /// Classifies images by the first token of each.
    pub(super) fn image_encoder(&mut self) {
        let (hidden, batch) = (self.model.hidden, self.graph.dims.batch);
        let Some(image) = self.model.image else { return };
        let patches = batch.saturating_mul(image.patches());
        let shape = Shape::new(patches, image.patch_width());
        let pixels = self.input("patches", Part::Embedding, shape, DType::F32);
        let x = self.op(OpKind::Cast, "pixels", vec![pixels], image.patch_width());
        let x = self.whole_biased("patch", x, hidden);
        let token = self.parameter("class token weight", 1, hidden);
        let all = self.value("class token", self.graph.dims.tokens(), hidden);
        self.push(OpKind::ClassToken, "class token", vec![x, token], vec![all]);
        let x = self.positions(all);
        let mut x = self.dropout("embedding", x);
        for layer in 0..self.model.layers {
            self.part = Part::Layer(layer);
            x = self.layer(x, layer);
        }
        self.part = Part::Head;
        let targets = self.numbers("targets", Part::Head, batch);
        let normed = self.norm("norm", x);
        let first = self.gather("first tokens", normed, batch);
        let logits = self.whole_biased("logits", first, image.classes);
        self.whole_cross_entropy("loss", logits, targets);
    }

    /// Some rows of all sequences.
    fn gather(&mut self, what: &str, x: TensorId, rows: u32) -> TensorId {
        let positions = self.numbers(&format!("{what} positions"), self.part, rows);
        let y = self.value(what, rows, self.cols_of(x));
        self.push(OpKind::GatherRows, what, vec![x, positions], vec![y]);
        y
    }
}
