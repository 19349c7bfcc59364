//! Parameter counts by part, exactly as the tensors of the graph add up.

use serde::Serialize;

use super::{Mixture, Model};

/// The number of parameters by part of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ParameterCount {
    /// Token embedding, and learned positions of GPT models.
    pub embedding: u64,
    /// All transformer layers.
    pub layers: u64,
    /// The final norm and, unless tied, the output head.
    pub head: u64,
    /// Of those of the layers, parameters of experts that a token is not routed to.
    pub inactive: u64,
}

impl ParameterCount {
    /// Counts the parameters of `model`.
    pub fn of(model: &Model) -> Self {
        let hidden = u64::from(model.hidden);
        let vocab = u64::from(model.vocab) * hidden;
        let positions = if model.is_gpt() { u64::from(model.positions) * hidden } else { 0 };
        let sparse = u64::from(model.mixture_layers());
        let dense = u64::from(model.layers) - sparse;
        let mixture = model.mixture.as_ref().map_or(0, |mixture| mixture_parameters(model, mixture));
        let around = attention_parameters(model) + 2 * norm_parameters(model);
        Self {
            embedding: vocab + positions,
            layers: around * u64::from(model.layers) + dense * dense_parameters(model) + sparse * mixture,
            head: norm_parameters(model) + if model.tied_embeddings { 0 } else { vocab },
            inactive: model.mixture.as_ref().map_or(0, |mixture| {
                let idle = u64::from(mixture.experts - mixture.per_token);
                sparse * idle * block(model, mixture.ffn_hidden)
            }),
        }
    }

    /// All parameters.
    pub fn total(&self) -> u64 {
        self.embedding + self.layers + self.head
    }

    /// Parameters that a token passes: all but those of experts it is not routed to.
    pub fn active(&self) -> u64 {
        self.total() - self.inactive
    }
}

/// Scale, and shift where there is one.
fn norm_parameters(model: &Model) -> u64 {
    u64::from(model.hidden) * if model.is_gpt() { 2 } else { 1 }
}

/// The projections around attention, fused or through short vectors.
fn attention_parameters(model: &Model) -> u64 {
    let hidden = u64::from(model.hidden);
    let (qkv, attention) = (u64::from(model.qkv_width()), u64::from(model.attention_width()));
    let projection = attention * hidden + if model.is_gpt() { hidden } else { 0 };
    let Some(latent) = model.latent else {
        let biased = model.is_gpt() || model.qkv_bias;
        return hidden * qkv + projection + if biased { qkv } else { 0 };
    };
    let (rank, queries) = (u64::from(latent.query_rank), u64::from(model.heads) * u64::from(model.key_dim()));
    let query = if rank == 0 { hidden * queries } else { (hidden + 1 + queries) * rank };
    let kv_rank = u64::from(latent.kv_rank);
    let pairs = u64::from(model.heads) * u64::from(model.head_dim + latent.value_dim);
    query + (hidden + 1 + pairs) * kv_rank + hidden * u64::from(latent.rope_dim) + projection
}

/// A feed-forward block: up (with the gate of SwiGLU) and down.
fn block(model: &Model, ffn: u32) -> u64 {
    u64::from(model.hidden) * u64::from(ffn) * if model.is_gpt() { 2 } else { 3 }
}

fn dense_parameters(model: &Model) -> u64 {
    let biases = if model.is_gpt() { model.ffn_hidden + model.hidden } else { 0 };
    block(model, model.ffn_hidden) + u64::from(biases)
}

/// Experts without biases, the router, and the shared block, whose last layer has no bias either.
fn mixture_parameters(model: &Model, mixture: &Mixture) -> u64 {
    let experts = u64::from(mixture.experts);
    let bias = if model.is_gpt() { u64::from(mixture.shared_ffn_hidden) } else { 0 };
    let shared = block(model, mixture.shared_ffn_hidden) + bias;
    experts * (block(model, mixture.ffn_hidden) + u64::from(model.hidden)) + shared
}
