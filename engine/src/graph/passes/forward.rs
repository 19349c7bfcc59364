//! First pass: model → tensor ops of one micro-batch on one device.

use crate::graph::{DType, Dims, Op, OpGraph, OpKind, Part, Placement, Role, Shape, Storage, Tensor, TensorId};
use crate::model::Model;
use crate::scenario::{AttentionKernel, Scenario};
use crate::trace::Phase;

/// Builds the forward ops of one micro-batch, from token ids to the loss.
pub fn forward(scenario: &Scenario) -> OpGraph {
    let graph = OpGraph { dims: Dims::of(scenario), tensors: Vec::new(), ops: Vec::new() };
    let unfused = scenario.strategy().attention == AttentionKernel::Unfused;
    let mut builder = Builder { graph, model: scenario.model(), part: Part::Embedding, unfused };
    let targets = builder.input("targets", Part::Head);
    let (mut x, table) = builder.embedding();
    for layer in 0..scenario.model().layers {
        builder.part = Part::Layer(layer);
        x = builder.layer(x);
    }
    builder.part = Part::Head;
    builder.head(x, table, targets);
    builder.graph
}

struct Builder<'a> {
    graph: OpGraph,
    model: &'a Model,
    part: Part,
    /// Whether attention stores its scores.
    unfused: bool,
}

/// A linear layer's weights.
struct Linear {
    weight: TensorId,
    bias: Option<TensorId>,
}

impl Builder<'_> {
    fn name(&self, what: &str) -> String {
        match self.part {
            Part::Embedding => format!("embedding {what}"),
            Part::Layer(layer) => format!("layer {layer} {what}"),
            Part::Head => format!("head {what}"),
        }
    }

    fn tensor(&mut self, what: &str, shape: Shape, dtype: DType, role: Role) -> TensorId {
        let name = self.name(what);
        let (part, placement, storage) = (self.part, Placement::Replicate, Storage::Own);
        self.graph.add_tensor(Tensor { name, shape, local: shape, dtype, role, part, placement, storage })
    }

    fn parameter(&mut self, what: &str, rows: u32, cols: u32) -> TensorId {
        self.tensor(what, Shape::new(rows, cols), DType::F32, Role::Parameter)
    }

    fn input(&mut self, what: &str, part: Part) -> TensorId {
        self.part = part;
        let shape = Shape::vector(self.graph.dims.tokens());
        let id = self.tensor(what, shape, DType::U32, Role::Input);
        self.part = Part::Embedding;
        id
    }

    /// Appends an op whose one result has `cols` features per token.
    fn op(&mut self, kind: OpKind, what: &str, reads: Vec<TensorId>, cols: u32) -> TensorId {
        let y = self.tensor(what, Shape::new(self.graph.dims.tokens(), cols), DType::F32, Role::Activation);
        self.push(kind, what, reads, vec![y]);
        y
    }

    fn push(&mut self, kind: OpKind, what: &str, reads: Vec<TensorId>, writes: Vec<TensorId>) {
        let name = self.name(what);
        self.graph.ops.push(Op { kind, name, part: self.part, phase: Phase::Forward, reads, writes });
    }

    /// Returns the embedded tokens and the table, which a tied head reads too.
    fn embedding(&mut self) -> (TensorId, TensorId) {
        let hidden = self.model.hidden;
        let ids = self.input("tokens", Part::Embedding);
        let table = self.parameter("token weight", self.model.vocab, hidden);
        let mut x = self.op(OpKind::Embedding, "tokens", vec![ids, table], hidden);
        if self.model.is_gpt() {
            let positions = self.parameter("position weight", self.model.positions, hidden);
            x = self.op(OpKind::Position, "positions", vec![x, positions], hidden);
        }
        (x, table)
    }

    fn norm(&mut self, what: &str, x: TensorId) -> TensorId {
        let (hidden, tokens) = (self.model.hidden, self.graph.dims.tokens());
        let mut reads = vec![x, self.parameter(&format!("{what} weight"), hidden, 1)];
        if self.model.is_gpt() {
            reads.push(self.parameter(&format!("{what} shift"), hidden, 1));
        }
        let y = self.tensor(what, Shape::new(tokens, hidden), DType::F32, Role::Activation);
        let width = if self.model.is_gpt() { 2 } else { 1 };
        let statistics =
            self.tensor(&format!("{what} statistics"), Shape::new(tokens, width), DType::F32, Role::Activation);
        self.push(OpKind::Norm, what, reads, vec![y, statistics]);
        y
    }

    fn linear(&mut self, what: &str, inputs: u32, outputs: u32) -> Linear {
        let weight = self.parameter(&format!("{what} weight"), inputs, outputs);
        let bias = self.model.is_gpt().then(|| self.parameter(&format!("{what} bias"), outputs, 1));
        Linear { weight, bias }
    }

    /// A linear layer whose bias is added in the matmul: column-parallel when sharded.
    fn column_linear(&mut self, what: &str, x: TensorId, inputs: u32, outputs: u32) -> TensorId {
        let Linear { weight, bias } = self.linear(what, inputs, outputs);
        let mut reads = vec![x, weight];
        reads.extend(bias);
        let kind = OpKind::Matmul { transpose_a: false, transpose_b: false, bias: bias.is_some(), accumulate: false };
        self.op(kind, what, reads, outputs)
    }

    /// A linear layer added to the residual stream: row-parallel when sharded, so that the bias is added once,
    /// after the reduction.
    fn row_linear(&mut self, what: &str, y: TensorId, x: TensorId, inputs: u32) -> TensorId {
        let hidden = self.model.hidden;
        let Linear { weight, bias } = self.linear(what, inputs, hidden);
        let product = self.op(OpKind::MATMUL, what, vec![y, weight], hidden);
        let mut reads = vec![x, product];
        reads.extend(bias);
        self.op(OpKind::Residual { bias: bias.is_some() }, &format!("{what} residual"), reads, hidden)
    }

    fn layer(&mut self, x: TensorId) -> TensorId {
        let x = self.attention(x);
        self.feed_forward(x)
    }

    fn attention(&mut self, x: TensorId) -> TensorId {
        let (hidden, qkv_width, width) = (self.model.hidden, self.model.qkv_width(), self.model.attention_width());
        let normed = self.norm("attention norm", x);
        let mut qkv = self.column_linear("qkv", normed, hidden, qkv_width);
        if !self.model.is_gpt() {
            qkv = self.op(OpKind::Rope { inverse: false }, "rope", vec![qkv], qkv_width);
        }
        let tokens = self.graph.dims.tokens();
        let out = self.tensor("attention", Shape::new(tokens, width), DType::F32, Role::Activation);
        let lse =
            self.tensor("attention logsumexp", Shape::new(tokens, self.model.heads), DType::F32, Role::Activation);
        if self.unfused {
            self.unfused_attention(qkv, out);
        } else {
            self.push(OpKind::Attention, "attention", vec![qkv], vec![out, lse]);
        }
        self.row_linear("projection", out, x, width)
    }

    /// Scores and probabilities have a row per token, and in it for every head a column per key.
    fn unfused_attention(&mut self, qkv: TensorId, out: TensorId) {
        let keys = self.model.heads * self.graph.dims.sequence;
        let scores = self.op(OpKind::AttentionScores, "attention scores", vec![qkv], keys);
        let probabilities = self.op(OpKind::AttentionSoftmax, "attention softmax", vec![scores], keys);
        self.push(OpKind::AttentionValues, "attention values", vec![probabilities, qkv], vec![out]);
    }

    fn feed_forward(&mut self, x: TensorId) -> TensorId {
        let (hidden, ffn) = (self.model.hidden, self.model.ffn_hidden);
        let normed = self.norm("mlp norm", x);
        let (kind, width) = if self.model.is_gpt() { (OpKind::Gelu, ffn) } else { (OpKind::SwiGlu, 2 * ffn) };
        let up = self.column_linear("mlp up", normed, hidden, width);
        let activated = self.op(kind, "mlp activation", vec![up], ffn);
        self.row_linear("mlp down", activated, x, ffn)
    }

    fn head(&mut self, x: TensorId, table: TensorId, targets: TensorId) {
        let (hidden, vocab) = (self.model.hidden, self.model.vocab);
        let normed = self.norm("norm", x);
        let logits = if self.model.tied_embeddings {
            let kind = OpKind::Matmul { transpose_a: false, transpose_b: true, bias: false, accumulate: false };
            self.op(kind, "logits", vec![normed, table], vocab)
        } else {
            let weight = self.parameter("weight", hidden, vocab);
            self.op(OpKind::MATMUL, "logits", vec![normed, weight], vocab)
        };
        let max = self.op(OpKind::RowMax, "loss max", vec![logits], 1);
        let sums = self.op(OpKind::SumExp, "loss sums", vec![logits, max, targets], 2);
        let loss = self.tensor("loss", Shape::vector(1), DType::F32, Role::Scalar);
        self.push(OpKind::CrossEntropy, "loss", vec![sums], vec![loss]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ParameterCount;
    use crate::scenario::presets;

    #[test]
    fn the_graph_has_as_many_parameters_as_the_model() {
        for preset in presets() {
            let scenario = Scenario::preset(preset.name).expect("presets are valid");
            let graph = forward(&scenario);
            let parameters = graph.tensors.iter().filter(|t| t.role == Role::Parameter);
            let count: u64 = parameters.map(|t| t.shape.elements()).sum();
            assert_eq!(count, ParameterCount::of(scenario.model()).total(), "{}", preset.name);
            graph.verify().unwrap_or_else(|error| panic!("{}: {error}", preset.name));
        }
    }
}
