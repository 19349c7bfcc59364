//! The parts of a strategy that share a replica's tokens: context ranks and experts.

use super::check::{Checked, bounded, divides, invalid};
use super::{AttentionKernel, ContextMethod, Data, Strategy, StrategyFile};
use crate::model::Model;

/// Slices of a sequence: two halves of each context rank's part make its causal work even.
pub(super) fn context(file: &StrategyFile, s: &Strategy, model: &Model, data: &Data) -> Checked<()> {
    let (path, cp) = ("strategy.context_parallel", s.context_parallel);
    if cp == 1 {
        return Ok(());
    }
    if !data.sequence_length.is_multiple_of(2) {
        let hint = "Make data.sequence_length even.";
        return Err(invalid(path, cp, "1 with sequences of an odd length", hint));
    }
    divides(path, cp, "data.sequence_length / 2", data.sequence_length / 2)?;
    if s.attention == AttentionKernel::Unfused {
        let hint = "Set strategy.attention = \"flash\".";
        return Err(invalid(path, cp, "1 with strategy.attention = unfused", hint));
    }
    if file.context_method == ContextMethod::AllToAll {
        let heads = model.kv_heads / s.tensor_parallel;
        divides(path, cp, "model.kv_heads / strategy.tensor_parallel, whose heads all_to_all deals out,", heads)?;
    }
    Ok(())
}

/// Ranks over which experts are spread. Tables of a recommender always lie over all replicas.
pub(super) fn spread(file: &StrategyFile, s: &Strategy, model: &Model) -> Checked<u32> {
    let path = "strategy.expert_parallel";
    let stated = ranks(file.expert_parallel, path)?;
    if model.recommender.is_none() {
        return Ok(stated);
    }
    if stated == 1 || stated == s.data_parallel {
        return Ok(s.data_parallel);
    }
    let allowed = format!("left out, or strategy.data_parallel = {}, over which tables are spread", s.data_parallel);
    Err(invalid(path, stated, allowed, "Tables that several ranks hold are not modelled."))
}

/// Experts: spread over ranks of a stage, each whole or sliced like the dense layers.
pub(super) fn experts(s: &Strategy, model: &Model) -> Checked<()> {
    let (path, ep) = ("strategy.expert_parallel", s.expert_parallel);
    let slices = s.expert_tensor_parallel;
    if slices != 1 && slices != s.tensor_parallel {
        let allowed = format!("1 or strategy.tensor_parallel = {}", s.tensor_parallel);
        return Err(invalid("strategy.expert_tensor_parallel", slices, allowed, "1 keeps experts whole."));
    }
    let Some(mixture) = model.mixture else {
        if slices == 1 && (ep == 1 || model.recommender.is_some()) {
            return Ok(());
        }
        let (path, n) = if ep > 1 { (path, ep) } else { ("strategy.expert_tensor_parallel", slices) };
        return Err(invalid(path, n, "1 for a dense model", "Set model.experts, or start from a mixture of experts."));
    };
    divides(path, ep, "model.experts", mixture.experts)?;
    let ranks = s.mesh().per_stage() / slices;
    let over = if slices == 1 {
        "data_parallel × context_parallel × tensor_parallel"
    } else {
        "data_parallel × context_parallel"
    };
    divides(path, ep, over, ranks)?;
    divides("strategy.expert_tensor_parallel", slices, "model.expert_ffn_hidden", mixture.ffn_hidden)?;
    if mixture.shared_ffn_hidden > 0 {
        let width = mixture.shared_ffn_hidden;
        divides("strategy.tensor_parallel", s.tensor_parallel, "the width of the shared experts", width)?;
    }
    if s.tensor_parallel > 1 && slices == 1 && !s.sequence_parallel {
        let allowed =
            "true where tensor_parallel > 1 and experts are not sliced: else ranks would route the same tokens";
        let hint = "Turn it on, or set strategy.expert_tensor_parallel = strategy.tensor_parallel.";
        return Err(invalid("strategy.sequence_parallel", false, allowed, hint));
    }
    Ok(())
}

/// How much of what is routed to an expert it takes.
pub(super) fn capacity(file: &StrategyFile) -> Checked<f64> {
    let factor = file.capacity_factor;
    if factor.is_finite() && (1e-3..=1e4).contains(&factor) {
        return Ok(factor);
    }
    Err(invalid("strategy.capacity_factor", factor, "a number from 0.001 to 10000", "1 is a balanced load."))
}

/// A count of ranks.
pub(super) fn ranks(n: u32, path: &'static str) -> Checked<u32> {
    bounded(Some(n), path, 1 << 20)
}
