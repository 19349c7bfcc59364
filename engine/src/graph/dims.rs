//! Sizes that kernels need beside their tensors' shapes.

use serde::Serialize;

use super::Part;
use crate::model::{Mixture, Window};
use crate::scenario::{AttentionKernel, Kernels, Scenario, Strategy};

/// Sizes of one micro-batch on one replica, before sharding.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Dims {
    /// Sequences in a micro-batch.
    pub batch: u32,
    /// Tokens in a sequence.
    pub sequence: u32,
    /// Ranks that share it.
    pub context: u32,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Query heads per key and value head.
    pub queries_per_group: u32,
    /// Width of a head's queries and keys.
    pub head_dim: u32,
    /// Width of a head's values.
    pub value_dim: u32,
    /// Vocabulary, without padding.
    pub vocab: u32,
    /// Base of rotary angles.
    pub rope_theta: f64,
    /// Stabiliser of norms.
    pub norm_eps: f64,
    /// Replicas that step together × micro-batches × tokens: what the loss is averaged over.
    pub loss_tokens: u64,
    /// Whether norms subtract the mean and have a shift.
    pub layer_norm: bool,
    /// Whether a token attends only to those before it.
    pub causal: bool,
    /// To how many tokens a token attends, where not to all.
    pub window: Option<Window>,
    /// Whether fused attention is that written for Ampere.
    pub flash_2: bool,
    /// Whether matmuls are called one by one.
    pub eager: bool,
    /// Experts of a mixture; 0 without one.
    pub experts: u32,
    /// Of them those of one rank.
    pub local_experts: u32,
    /// Tokens that every expert of a mixture takes of a micro-batch; 0 without a mixture.
    pub expert_capacity: u32,
    /// Ranks over which the tokens of the residual stream are spread.
    pub stream_ranks: u32,
    /// Blocks in which a rank has its tokens of the residual stream: one of each chunk in which they are gathered, and of
    /// each chunk the ranks have neighbouring blocks, so that a chunk that is gathered is a run of tokens.
    pub stream_blocks: u32,
    /// Of the rows that experts compute, the share that tokens were routed to; the others are slack of the capacity.
    pub routed_share: f64,
}

/// Chunks are cut where they divide (`passes::overlap`).
fn stream_blocks(strategy: &Strategy, tokens: u32) -> u32 {
    let (chunks, ranks) = (strategy.tensor_chunks, strategy.tensor_parallel);
    let cut = strategy.sequence_parallel && ranks > 1 && tokens.is_multiple_of(chunks * ranks);
    if cut { chunks } else { 1 }
}

impl Dims {
    /// The sizes of a scenario.
    pub fn of(scenario: &Scenario) -> Self {
        let (model, strategy) = (scenario.model(), scenario.strategy());
        let tokens = scenario.micro_batch_tokens() / strategy.context_parallel;
        let (expert_capacity, routed_share) =
            model.mixture.map_or((0, 1.0), |mixture| capacity(&mixture, tokens, strategy.capacity_factor));
        Self {
            batch: strategy.micro_batch,
            sequence: scenario.data().sequence_length,
            context: strategy.context_parallel,
            hidden: model.hidden,
            queries_per_group: model.queries_per_group(),
            head_dim: model.key_dim(),
            value_dim: model.value_dim(),
            vocab: model.vocab,
            rope_theta: model.rope_theta,
            norm_eps: 1e-5,
            loss_tokens: scenario.step_tokens() / u64::from(scenario.strategy().separate_groups()),
            layer_norm: model.has_biases(),
            causal: model.is_causal(),
            window: model.window,
            flash_2: strategy.attention == AttentionKernel::Flash2,
            eager: strategy.kernels == Kernels::Eager,
            experts: model.mixture.map_or(0, |mixture| mixture.experts),
            local_experts: model.mixture.map_or(0, |mixture| mixture.experts / strategy.expert_parallel),
            expert_capacity,
            stream_blocks: stream_blocks(strategy, tokens),
            stream_ranks: if strategy.sequence_parallel { strategy.tensor_parallel } else { 1 },
            routed_share,
        }
    }

    /// Tokens of a micro-batch on one context rank.
    pub fn tokens(&self) -> u32 {
        self.batch * (self.sequence / self.context)
    }

    /// Keys to which a token attends on average in a part of the model: half of a sequence and its own where those behind
    /// it are hidden; with a window of `w` tokens `i` for the `i`-th of the first `w`, and `w` for all others.
    pub fn mean_keys(&self, part: Part) -> f64 {
        let keys = f64::from(self.sequence);
        let window = self.window.filter(|window| matches!(part, Part::Layer(layer) if window.is_in(layer)));
        match window.map(|window| f64::from(window.tokens)).filter(|&tokens| tokens < keys) {
            Some(tokens) => (tokens * (tokens + 1.0) / 2.0 + (keys - tokens) * tokens) / keys,
            None if self.causal => (keys + 1.0) / 2.0,
            None => keys,
        }
    }

    /// How many more keys a kernel computes than tokens attend to, as a share of the latter, in a part of the model with a
    /// window: it works on whole tiles, of which those at the ends of a window are partly hidden. What is hidden at the
    /// diagonal without a window too is in the efficiency of attention.
    pub fn hidden_keys(&self, part: Part) -> f64 {
        let window = self.window.filter(|window| matches!(part, Part::Layer(layer) if window.is_in(layer)));
        let Some(tokens) = window.map(|window| window.tokens).filter(|&tokens| tokens < self.sequence) else {
            return 0.0;
        };
        let all = f64::from(self.sequence.div_ceil(KEYS_OF_A_TILE));
        let seen = f64::from((tokens - 1).div_ceil(KEYS_OF_A_TILE) + 1).min(all);
        let of_window = (seen * (seen + 1.0) / 2.0 + (all - seen) * seen) / self.mean_keys(part);
        let of_all = all * (all + 1.0) / 2.0 / ((f64::from(self.sequence) + 1.0) / 2.0);
        (of_window / of_all - 1.0).max(0.0)
    }

    /// Width of one group of the fused query, key and value projection: its queries, one key, one value.
    pub fn group_width(&self) -> u32 {
        (self.queries_per_group + 1) * self.head_dim + self.value_dim
    }
}

/// Keys, and queries, of a tile of fused attention (Dao 2023, "FlashAttention-2", section 3.3: blocks of 64 or 128).
const KEYS_OF_A_TILE: u32 = 128;

/// What an expert takes of `tokens`, and the share of it that is used: `⌈tokens·k / experts · factor⌉` (Lepikhin et al.
/// 2021, "GShard", section 3.2).
fn capacity(mixture: &Mixture, tokens: u32, factor: f64) -> (u32, f64) {
    let routed = f64::from(tokens) * f64::from(mixture.per_token);
    let (least, most) = (1.0, f64::from(tokens));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and the tokens")]
    let capacity = (routed / f64::from(mixture.experts) * factor).ceil().clamp(least, most) as u32;
    (capacity, (routed / (f64::from(capacity) * f64::from(mixture.experts))).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{check, preset_file};

    #[test]
    fn keys_of_a_window_are_those_that_are_counted_one_by_one() {
        let mut file = preset_file("llama3-8b-16xh100").expect("a preset");
        (file.model.window, file.model.window_interval) = (Some(300), Some(4));
        file.data.sequence_length = Some(1024);
        let dims = Dims::of(&check(&file).expect("valid"));
        let counted = |window: u32| f64::from((1..=1024).map(|token: u32| token.min(window)).sum::<u32>()) / 1024.0;
        assert_eq!(dims.mean_keys(Part::Layer(0)), counted(300));
        assert_eq!(dims.mean_keys(Part::Layer(3)), counted(1024), "every fourth layer attends to all");
        // Of eight rows of tiles three see all tiles that are there, the others four each, where all see 36.
        let tiles = f64::from(1 + 2 + 3 + 4 * 5);
        let expected = tiles / counted(300) / (36.0 / counted(1024)) - 1.0;
        assert!((dims.hidden_keys(Part::Layer(0)) - expected).abs() < 1e-12);
        assert_eq!(dims.hidden_keys(Part::Layer(3)), 0.0);
    }
}
