//! Sizes that kernels need beside their tensors' shapes.

use serde::Serialize;

use crate::scenario::Scenario;

/// Sizes of one micro-batch on one replica, before sharding.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Dims {
    /// Sequences in a micro-batch.
    pub batch: u32,
    /// Tokens in a sequence.
    pub sequence: u32,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Query heads per key and value head.
    pub queries_per_group: u32,
    /// Width of a head.
    pub head_dim: u32,
    /// Vocabulary, without padding.
    pub vocab: u32,
    /// Base of rotary angles.
    pub rope_theta: f64,
    /// Stabiliser of norms.
    pub norm_eps: f64,
    /// Replicas × micro-batches × tokens: what the loss is averaged over.
    pub loss_tokens: u64,
    /// Whether norms subtract the mean and have a shift.
    pub layer_norm: bool,
}

impl Dims {
    /// The sizes of a scenario.
    pub fn of(scenario: &Scenario) -> Self {
        let model = scenario.model();
        Self {
            batch: scenario.strategy().micro_batch,
            sequence: scenario.data().sequence_length,
            hidden: model.hidden,
            queries_per_group: model.queries_per_group(),
            head_dim: model.head_dim,
            vocab: model.vocab,
            rope_theta: model.rope_theta,
            norm_eps: 1e-5,
            loss_tokens: scenario.step_tokens(),
            layer_norm: model.is_gpt(),
        }
    }

    /// Tokens of a micro-batch.
    pub fn tokens(&self) -> u32 {
        self.batch * self.sequence
    }

    /// Width of one group of the fused query, key and value projection: its queries, one key, one value.
    pub fn group_width(&self) -> u32 {
        (self.queries_per_group + 2) * self.head_dim
    }
}
