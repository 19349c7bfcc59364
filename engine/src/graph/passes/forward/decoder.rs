//! Decoder transformers: embedding, layers with attention and a feed-forward block or a mixture of experts, head.

use super::Builder;
use crate::graph::{DType, Epilogue, OpKind, Part, Role, Shape, Spread, TensorId};
use crate::model::{Latent, Mixture};

impl Builder<'_> {
    pub(super) fn decoder(&mut self) {
        let tokens = self.graph.dims.tokens();
        let targets = self.numbers("targets", Part::Head, tokens);
        let (x, table) = self.embedding();
        let mut x = self.dropout("embedding", x);
        for layer in 0..self.model.layers {
            self.part = Part::Layer(layer);
            x = self.layer(x, layer);
        }
        self.part = Part::Head;
        self.head(x, table, targets);
    }

    /// Returns the embedded tokens and the table, which a tied head reads too.
    pub(super) fn embedding(&mut self) -> (TensorId, TensorId) {
        let (hidden, tokens) = (self.model.hidden, self.graph.dims.tokens());
        let ids = self.numbers("tokens", Part::Embedding, tokens);
        let table = self.parameter("token weight", self.model.vocab, hidden);
        let mut x = self.op(OpKind::Embedding, "tokens", vec![ids, table], hidden);
        if self.model.has_biases() {
            x = self.positions(x);
        }
        (x, table)
    }

    /// Adds learned positions.
    pub(super) fn positions(&mut self, x: TensorId) -> TensorId {
        let hidden = self.model.hidden;
        let positions = self.parameter("position weight", self.model.positions, hidden);
        self.op(OpKind::Position, "positions", vec![x, positions], hidden)
    }

    pub(super) fn layer(&mut self, x: TensorId, layer: u32) -> TensorId {
        let x = self.attention(x);
        let normed = self.norm("mlp norm", x);
        match self.model.mixture_in(layer).copied() {
            Some(mixture) => self.mixture(normed, x, &mixture),
            None => self.feed_forward(normed, x),
        }
    }

    fn attention(&mut self, x: TensorId) -> TensorId {
        let normed = self.norm("attention norm", x);
        self.attention_of(normed, x)
    }

    /// Attention over what was normed, added to the residual stream.
    pub(super) fn attention_of(&mut self, normed: TensorId, x: TensorId) -> TensorId {
        let width = self.model.attention_width();
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
        if self.model.has_biases() {
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
        let probabilities = self.dropout("attention", probabilities);
        self.push(OpKind::AttentionValues, "attention values", vec![probabilities, qkv], vec![out]);
    }

    /// The activation of a block of inner width `ffn`, and the width of its input.
    fn activation(&self, ffn: u32) -> (OpKind, u32) {
        if self.model.has_biases() { (OpKind::Gelu, ffn) } else { (OpKind::SwiGlu, 2 * ffn) }
    }

    pub(super) fn feed_forward(&mut self, normed: TensorId, x: TensorId) -> TensorId {
        let (hidden, ffn) = (self.model.hidden, self.model.ffn_hidden);
        let up = self.column_linear("mlp up", normed, hidden, self.activation(ffn).1);
        let activated = self.activated("mlp", up, ffn);
        self.row_linear("mlp down", activated, x, ffn)
    }

    /// The activation of a block behind its first layer.
    fn activated(&mut self, block: &str, up: TensorId, ffn: u32) -> TensorId {
        let (kind, name) = (self.activation(ffn).0, format!("{block} activation"));
        if self.eager && kind == OpKind::SwiGlu {
            let gate = self.op(OpKind::Silu, &format!("{block} gate"), vec![up], ffn);
            return self.op(OpKind::Gate, &name, vec![up, gate], ffn);
        }
        self.op(kind, &name, vec![up], ffn)
    }

    /// Every token goes to its experts and comes back; beside them all tokens may pass a shared block.
    fn mixture(&mut self, normed: TensorId, x: TensorId, mixture: &Mixture) -> TensorId {
        let (hidden, tokens) = (self.model.hidden, self.graph.dims.tokens());
        let scores = self.whole_linear("router", normed, mixture.experts);
        let weights = self.value("expert weights", tokens, mixture.per_token);
        let shape = Shape::new(tokens, mixture.per_token);
        let assignment = self.tensor("expert assignment", shape, DType::U32, Role::Activation);
        let choices = self.tensor("expert choices", shape, DType::U32, Role::Activation);
        self.push(OpKind::Route, "routing", vec![scores], vec![weights, assignment, choices]);
        let rows = self.expert_rows(OpKind::Dispatch, "dispatch", vec![normed, assignment], mixture, hidden);
        let up = self.expert_linear("expert up", rows, self.activation(mixture.ffn_hidden).1, mixture);
        let activated = self.activated("expert", up, mixture.ffn_hidden);
        let down = self.expert_linear("expert down", activated, hidden, mixture);
        let mut sum = self.value("combine", tokens, hidden);
        self.push(OpKind::Combine, "combine", vec![down, weights, assignment], vec![sum]);
        if mixture.shared_ffn_hidden > 0 {
            let shared = self.shared_block(normed, mixture.shared_ffn_hidden);
            sum = self.op(OpKind::Add, "shared sum", vec![sum, shared], hidden);
        }
        self.residual("mixture residual", vec![x, sum])
    }

    /// Appends an op whose one result has a row for every token that an expert takes.
    fn expert_rows(&mut self, kind: OpKind, what: &str, reads: Vec<TensorId>, of: &Mixture, cols: u32) -> TensorId {
        let y = self.value(what, of.experts.saturating_mul(self.graph.dims.expert_capacity), cols);
        self.push(kind, what, reads, vec![y]);
        y
    }

    /// Every expert's linear layer on its rows; the weights of all experts lie below each other.
    fn expert_linear(&mut self, what: &str, x: TensorId, outputs: u32, of: &Mixture) -> TensorId {
        let rows = of.experts.saturating_mul(self.cols_of(x));
        let weight = self.spread_parameter(&format!("{what} weight"), rows, outputs, Spread::Experts);
        let kind = OpKind::GroupedMatmul { transpose_a: false, transpose_b: false, accumulate: false };
        self.expert_rows(kind, what, vec![x, weight], of, outputs)
    }

    fn shared_block(&mut self, normed: TensorId, ffn: u32) -> TensorId {
        let hidden = self.model.hidden;
        let up = self.column_linear("shared up", normed, hidden, self.activation(ffn).1);
        let activated = self.activated("shared", up, ffn);
        let weight = self.parameter("shared down weight", ffn, hidden);
        self.op(OpKind::MATMUL, "shared down", vec![activated, weight], hidden)
    }

    fn head(&mut self, x: TensorId, table: TensorId, targets: TensorId) {
        let (hidden, vocab) = (self.model.hidden, self.model.vocab);
        let normed = self.norm("norm", x);
        let logits = if self.model.tied_embeddings {
            let kind = OpKind::Matmul {
                transpose_a: false,
                transpose_b: true,
                bias: false,
                accumulate: false,
                epilogue: Epilogue::None,
            };
            self.op(kind, "logits", vec![normed, table], vocab)
        } else {
            let weight = self.parameter("weight", hidden, vocab);
            self.op(OpKind::MATMUL, "logits", vec![normed, weight], vocab)
        };
        self.cross_entropy("loss", logits, targets);
    }
}
