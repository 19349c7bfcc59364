//! First pass: model → tensor ops of one micro-batch on one device.

use crate::graph::{DType, Dims, Op, OpGraph, OpKind, Part, Placement, Role, Shape, Spread, Storage, Tensor, TensorId};
use crate::model::{Latent, Mixture, Model};
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
        x = builder.layer(x, layer);
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
        let spread = Spread::Tensor;
        self.graph.add_tensor(Tensor {
            name: name.into(),
            shape,
            local: shape,
            dtype,
            role,
            part,
            placement,
            spread,
            storage,
        })
    }

    fn parameter(&mut self, what: &str, rows: u32, cols: u32) -> TensorId {
        self.tensor(what, Shape::new(rows, cols), DType::F32, Role::Parameter)
    }

    /// A parameter that is not cut over the tensor group as others are.
    fn spread_parameter(&mut self, what: &str, rows: u32, cols: u32, spread: Spread) -> TensorId {
        let id = self.parameter(what, rows, cols);
        self.graph.tensors[id.index()].spread = spread;
        id
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
        let y = self.value(what, self.graph.dims.tokens(), cols);
        self.push(kind, what, reads, vec![y]);
        y
    }

    fn value(&mut self, what: &str, rows: u32, cols: u32) -> TensorId {
        self.tensor(what, Shape::new(rows, cols), DType::F32, Role::Activation)
    }

    fn push(&mut self, kind: OpKind, what: &str, reads: Vec<TensorId>, writes: Vec<TensorId>) {
        let name = self.name(what);
        self.graph.ops.push(Op { kind, name: name.into(), part: self.part, phase: Phase::Forward, reads, writes });
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
        let (features, tokens) = (self.graph.tensor(x).shape.cols, self.graph.dims.tokens());
        let mut reads = vec![x, self.parameter(&format!("{what} weight"), features, 1)];
        if self.model.is_gpt() {
            reads.push(self.parameter(&format!("{what} shift"), features, 1));
        }
        let y = self.value(what, tokens, features);
        let statistics = self.value(&format!("{what} statistics"), tokens, if self.model.is_gpt() { 2 } else { 1 });
        self.push(OpKind::Norm, what, reads, vec![y, statistics]);
        y
    }

    fn linear(&mut self, what: &str, inputs: u32, outputs: u32) -> Linear {
        let weight = self.parameter(&format!("{what} weight"), inputs, outputs);
        let biased = self.model.is_gpt() || what == "qkv" && self.model.qkv_bias;
        let bias = biased.then(|| self.parameter(&format!("{what} bias"), outputs, 1));
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

    /// A linear layer without bias whose weight every rank of the tensor group has whole.
    fn whole_linear(&mut self, what: &str, x: TensorId, outputs: u32) -> TensorId {
        let inputs = self.graph.tensor(x).shape.cols;
        let weight = self.spread_parameter(&format!("{what} weight"), inputs, outputs, Spread::Whole);
        self.op(OpKind::MATMUL, what, vec![x, weight], outputs)
    }

    fn layer(&mut self, x: TensorId, layer: u32) -> TensorId {
        let x = self.attention(x);
        let normed = self.norm("mlp norm", x);
        match self.model.mixture_in(layer).copied() {
            Some(mixture) => self.mixture(normed, x, &mixture),
            None => self.feed_forward(normed, x),
        }
    }

    fn attention(&mut self, x: TensorId) -> TensorId {
        let width = self.model.attention_width();
        let normed = self.norm("attention norm", x);
        let qkv = match self.model.latent {
            Some(latent) => self.latent_qkv(normed, &latent),
            None => self.qkv(normed),
        };
        let tokens = self.graph.dims.tokens();
        let out = self.value("attention", tokens, width);
        let lse = self.value("attention logsumexp", tokens, self.model.heads);
        if self.unfused {
            self.unfused_attention(qkv, out);
        } else {
            self.push(OpKind::Attention, "attention", vec![qkv], vec![out, lse]);
        }
        self.row_linear("projection", out, x, width)
    }

    fn qkv(&mut self, normed: TensorId) -> TensorId {
        let (hidden, width) = (self.model.hidden, self.model.qkv_width());
        let qkv = self.column_linear("qkv", normed, hidden, width);
        if self.model.is_gpt() {
            return qkv;
        }
        self.op(OpKind::Rope { inverse: false }, "rope", vec![qkv], width)
    }

    /// Queries, keys and values by way of short vectors; all heads share the rotated part of the key.
    fn latent_qkv(&mut self, normed: TensorId, latent: &Latent) -> TensorId {
        let (hidden, heads) = (self.model.hidden, self.model.heads);
        let width = heads * self.model.key_dim();
        let queries = if latent.query_rank == 0 {
            self.column_linear("queries", normed, hidden, width)
        } else {
            let short = self.whole_linear("query down", normed, latent.query_rank);
            let short = self.norm("query norm", short);
            self.column_linear("query up", short, latent.query_rank, width)
        };
        let short = self.whole_linear("kv down", normed, latent.kv_rank);
        let short = self.norm("kv norm", short);
        let pairs =
            self.column_linear("kv up", short, latent.kv_rank, heads * (self.model.head_dim + latent.value_dim));
        let rotated = self.whole_linear("rotated key", normed, latent.rope_dim);
        self.op(OpKind::LatentJoin, "latent join", vec![queries, pairs, rotated], self.model.qkv_width())
    }

    /// Scores and probabilities have a row per token, and in it for every head a column per key.
    fn unfused_attention(&mut self, qkv: TensorId, out: TensorId) {
        let keys = self.model.heads * self.graph.dims.sequence;
        let scores = self.op(OpKind::AttentionScores, "attention scores", vec![qkv], keys);
        let probabilities = self.op(OpKind::AttentionSoftmax, "attention softmax", vec![scores], keys);
        self.push(OpKind::AttentionValues, "attention values", vec![probabilities, qkv], vec![out]);
    }

    /// The activation of a block of inner width `ffn`, and the width of its input.
    fn activation(&self, ffn: u32) -> (OpKind, u32) {
        if self.model.is_gpt() { (OpKind::Gelu, ffn) } else { (OpKind::SwiGlu, 2 * ffn) }
    }

    fn feed_forward(&mut self, normed: TensorId, x: TensorId) -> TensorId {
        let (hidden, ffn) = (self.model.hidden, self.model.ffn_hidden);
        let (kind, width) = self.activation(ffn);
        let up = self.column_linear("mlp up", normed, hidden, width);
        let activated = self.op(kind, "mlp activation", vec![up], ffn);
        self.row_linear("mlp down", activated, x, ffn)
    }

    /// Every token goes to its experts and comes back; beside them all tokens may pass a shared block.
    fn mixture(&mut self, normed: TensorId, x: TensorId, mixture: &Mixture) -> TensorId {
        let (hidden, tokens) = (self.model.hidden, self.graph.dims.tokens());
        let scores = self.whole_linear("router", normed, mixture.experts);
        let weights = self.value("expert weights", tokens, mixture.per_token);
        let shape = Shape::new(tokens, mixture.per_token);
        let assignment = self.tensor("expert assignment", shape, DType::U32, Role::Activation);
        self.push(OpKind::Route, "routing", vec![scores], vec![weights, assignment]);
        let rows = self.expert_rows(OpKind::Dispatch, "dispatch", vec![normed, assignment], mixture, hidden);
        let (activation, width) = self.activation(mixture.ffn_hidden);
        let up = self.expert_linear("expert up", rows, width, mixture);
        let activated = self.expert_rows(activation, "expert activation", vec![up], mixture, mixture.ffn_hidden);
        let down = self.expert_linear("expert down", activated, hidden, mixture);
        let mut sum = self.op(OpKind::Combine, "combine", vec![down, weights, assignment], hidden);
        if mixture.shared_ffn_hidden > 0 {
            let shared = self.shared_block(normed, mixture.shared_ffn_hidden);
            sum = self.op(OpKind::Add, "shared sum", vec![sum, shared], hidden);
        }
        self.op(OpKind::Residual { bias: false }, "mixture residual", vec![x, sum], hidden)
    }

    /// Appends an op whose one result has a row for every token that an expert takes.
    fn expert_rows(&mut self, kind: OpKind, what: &str, reads: Vec<TensorId>, of: &Mixture, cols: u32) -> TensorId {
        let y = self.value(what, of.experts.saturating_mul(self.graph.dims.expert_capacity), cols);
        self.push(kind, what, reads, vec![y]);
        y
    }

    /// Every expert's linear layer on its rows; the weights of all experts lie below each other.
    fn expert_linear(&mut self, what: &str, x: TensorId, outputs: u32, of: &Mixture) -> TensorId {
        let rows = of.experts.saturating_mul(self.graph.tensor(x).shape.cols);
        let weight = self.spread_parameter(&format!("{what} weight"), rows, outputs, Spread::Experts);
        let kind = OpKind::GroupedMatmul { transpose_a: false, transpose_b: false, accumulate: false };
        self.expert_rows(kind, what, vec![x, weight], of, outputs)
    }

    fn shared_block(&mut self, normed: TensorId, ffn: u32) -> TensorId {
        let hidden = self.model.hidden;
        let (kind, width) = self.activation(ffn);
        let up = self.column_linear("shared up", normed, hidden, width);
        let activated = self.op(kind, "shared activation", vec![up], ffn);
        let weight = self.parameter("shared down weight", ffn, hidden);
        self.op(OpKind::MATMUL, "shared down", vec![activated, weight], hidden)
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
