//! Parameter counts by part, exactly as the tensors of the graph add up.

use serde::Serialize;

use super::convolutional::{CHANNELS, STEM_KERNEL};
use super::{Architecture, ConvNet, Interaction, Mixture, Model, Recommender};

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
        match (&model.convolutions, &model.recommender) {
            (Some(net), _) => Self::of_convolutions(model, net),
            (None, Some(recommender)) => Self::of_recommender(model, recommender),
            (None, None) => Self::of_transformer(model),
        }
    }

    fn of_transformer(model: &Model) -> Self {
        let (embedding, head) = around_layers(model);
        let sparse = u64::from(model.mixture_layers());
        let dense = u64::from(model.layers) - sparse;
        let mixture = model.mixture.as_ref().map_or(0, |mixture| mixture_parameters(model, mixture));
        let around = attention_parameters(model) + 2 * norm_parameters(model);
        Self {
            embedding,
            layers: around * u64::from(model.layers) + dense * dense_parameters(model) + sparse * mixture,
            head,
            inactive: model.mixture.as_ref().map_or(0, |mixture| {
                let idle = u64::from(mixture.experts - mixture.per_token);
                sparse * idle * block(model, mixture.ffn_hidden)
            }),
        }
    }

    /// Every convolution is followed by a batch norm with scale and shift, and has no bias.
    fn of_convolutions(model: &Model, net: &ConvNet) -> Self {
        let count = |kernel: u32, inputs: u32, outputs: u32| {
            (u64::from(kernel * kernel) * u64::from(inputs) + 2) * u64::from(outputs)
        };
        let size = model.image.map_or(1, |image| image.size);
        let blocks = net.all_blocks(size).flat_map(|block| block.convolutions(net.bottleneck));
        Self {
            embedding: count(STEM_KERNEL, CHANNELS, net.width),
            layers: blocks.map(|[kernel, inputs, outputs, _]| count(kernel, inputs, outputs)).sum(),
            head: u64::from(net.features() + 1) * u64::from(model.vocab),
            inactive: 0,
        }
    }

    fn of_recommender(model: &Model, recommender: &Recommender) -> Self {
        let linear = |[inputs, outputs]: &[u32; 2]| (u64::from(*inputs) + 1) * u64::from(*outputs);
        let all = recommender.linear_layers(model.hidden);
        let (bottom, top) = all.split_at(recommender.bottom_mlp.len());
        let (last, top) = top.split_last().map_or((0, top), |(last, rest)| (linear(last), rest));
        let cross = match recommender.interaction {
            Interaction::Dot => 0,
            Interaction::Cross { layers, rank } => {
                let width = u64::from(recommender.interaction_width(model.hidden));
                u64::from(layers) * width * (2 * u64::from(rank) + 1)
            }
        };
        Self {
            embedding: recommender.rows() * u64::from(model.hidden) + bottom.iter().map(linear).sum::<u64>(),
            layers: cross + top.iter().map(linear).sum::<u64>(),
            head: last,
            inactive: 0,
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

/// What stands before and behind the layers of a transformer.
fn around_layers(model: &Model) -> (u64, u64) {
    let hidden = u64::from(model.hidden);
    let (vocab, norm) = (u64::from(model.vocab) * hidden, norm_parameters(model));
    let positions = if model.has_biases() { u64::from(model.positions) * hidden } else { 0 };
    let square = (hidden + 1) * hidden;
    match (model.architecture, model.image) {
        // Of a pair of texts each has an embedding. Behind: a layer and a norm before the tied table with a bias; the
        // pooled first token and whether the second text follows the first.
        (Architecture::Bert, _) => {
            (vocab + positions + 2 * hidden + norm, square + norm + u64::from(model.vocab) + square + 2 * hidden + 2)
        }
        (_, Some(image)) => {
            let patches = (u64::from(image.patch_width()) + 1) * hidden;
            (patches + hidden + positions, norm + vocab + u64::from(model.vocab))
        }
        _ => (vocab + positions, norm + if model.tied_embeddings { 0 } else { vocab }),
    }
}

/// Scale, and shift where there is one.
fn norm_parameters(model: &Model) -> u64 {
    u64::from(model.hidden) * if model.has_biases() { 2 } else { 1 }
}

/// The projections around attention, fused or through short vectors.
fn attention_parameters(model: &Model) -> u64 {
    let hidden = u64::from(model.hidden);
    let (qkv, attention) = (u64::from(model.qkv_width()), u64::from(model.attention_width()));
    let projection = attention * hidden + if model.has_biases() { hidden } else { 0 };
    let Some(latent) = model.latent else {
        let biased = model.has_biases() || model.qkv_bias;
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
    u64::from(model.hidden) * u64::from(ffn) * if model.has_biases() { 2 } else { 3 }
}

fn dense_parameters(model: &Model) -> u64 {
    let biases = if model.has_biases() { model.ffn_hidden + model.hidden } else { 0 };
    block(model, model.ffn_hidden) + u64::from(biases)
}

/// Experts without biases, the router, and the shared block, whose last layer has no bias either.
fn mixture_parameters(model: &Model, mixture: &Mixture) -> u64 {
    let experts = u64::from(mixture.experts);
    let bias = if model.has_biases() { u64::from(mixture.shared_ffn_hidden) } else { 0 };
    let shared = block(model, mixture.shared_ffn_hidden) + bias;
    experts * (block(model, mixture.ffn_hidden) + u64::from(model.hidden)) + shared
}
