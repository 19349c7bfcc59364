//! Parameter counts by part, exactly as the tensors of the graph add up.

use serde::Serialize;

use super::Model;

/// The number of parameters by part of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ParameterCount {
    /// Token embedding, and learned positions of GPT models.
    pub embedding: u64,
    /// One transformer layer.
    pub layer: u64,
    /// All transformer layers.
    pub layers: u64,
    /// The final norm and, unless tied, the output head.
    pub head: u64,
}

impl ParameterCount {
    /// Counts the parameters of `model`.
    pub fn of(model: &Model) -> Self {
        let hidden = u64::from(model.hidden);
        let vocab = u64::from(model.vocab) * hidden;
        let positions = if model.is_gpt() { u64::from(model.positions) * hidden } else { 0 };
        let layer = layer_parameters(model);
        Self {
            embedding: vocab + positions,
            layer,
            layers: layer * u64::from(model.layers),
            head: norm_parameters(model) + if model.tied_embeddings { 0 } else { vocab },
        }
    }

    /// All parameters.
    pub fn total(&self) -> u64 {
        self.embedding + self.layers + self.head
    }
}

/// Scale, and shift where there is one.
fn norm_parameters(model: &Model) -> u64 {
    u64::from(model.hidden) * if model.is_gpt() { 2 } else { 1 }
}

/// Two norms, attention and the feed-forward block (with a third matrix for the gate of SwiGLU).
fn layer_parameters(model: &Model) -> u64 {
    let hidden = u64::from(model.hidden);
    let (qkv, attention, ffn) =
        (u64::from(model.qkv_width()), u64::from(model.attention_width()), u64::from(model.ffn_hidden));
    let (up, biases) = if model.is_gpt() { (ffn, qkv + hidden + ffn + hidden) } else { (2 * ffn, 0) };
    2 * norm_parameters(model) + hidden * qkv + attention * hidden + hidden * up + ffn * hidden + biases
}
