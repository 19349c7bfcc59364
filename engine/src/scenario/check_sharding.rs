//! The sharding over replicas: stage, group, prefetch.

use super::check::{Checked, bounded, divides, invalid};
use super::pipeline::ChunkLayout;
use super::strategy::DEFAULT_SHARE;
use super::{Optimizer, Place, Recompute, Strategy, StrategyFile, UpdateRule, ZeroStage};
use crate::model::Model;

/// What is sharded.
pub(super) fn stage(file: &StrategyFile) -> Checked<ZeroStage> {
    let stage = ZeroStage::ALL.get(file.zero_stage as usize).copied();
    stage.ok_or_else(|| invalid("strategy.zero_stage", file.zero_stage, "0, 1, 2 or 3", "3 shards the most."))
}

/// Units that are gathered ahead.
pub(super) fn prefetch(file: &StrategyFile) -> Checked<u32> {
    if file.prefetch <= 64 {
        return Ok(file.prefetch);
    }
    Err(invalid("strategy.prefetch", file.prefetch, "a whole number from 0 to 64", "Most runs prefetch 1."))
}

/// Replicas that share one copy.
pub(super) fn group(file: &StrategyFile, strategy: &Strategy) -> Checked<u32> {
    if strategy.zero == ZeroStage::None {
        return Ok(1);
    }
    let path = "strategy.sharding_group";
    let group = bounded(Some(file.sharding_group.unwrap_or(strategy.copies())), path, 1 << 20)?;
    let whole = if strategy.context_parallel == 1 {
        "strategy.data_parallel"
    } else {
        "strategy.data_parallel × strategy.context_parallel"
    };
    divides(path, group, whole, strategy.copies())?;
    Ok(group)
}

/// A tied embedding whose two uses are in different chunks of one stage gets its gradient at two times of a
/// micro-batch; where gradients are sharded, that would need a buffer that outlives both.
pub(super) fn tied(strategy: &Strategy, model: &Model) -> Checked<()> {
    let same_stage = strategy.pipeline_parallel == 1 || strategy.schedule.layout() == ChunkLayout::V;
    let shared = model.tied_embeddings && strategy.virtual_stages > 1 && same_stage;
    if shared && strategy.zero >= ZeroStage::Gradients {
        let allowed = "0 or 1 with a tied embedding whose head is in another chunk of the same stage";
        let hint = "Set model.tied_embeddings = false, or use another strategy.schedule.";
        return Err(invalid("strategy.zero_stage", strategy.zero as u32, allowed, hint));
    }
    Ok(())
}

/// Where matrices are cut into slices, a rule for matrices needs all ranks that share one at the same time.
pub(super) fn optimizer(strategy: &Strategy) -> Checked<()> {
    let apart = strategy.update == UpdateRule::Asynchronous;
    if !strategy.optimizer.needs_matrices() || !strategy.shards_over_replicas() || !apart {
        return Ok(());
    }
    let of_slices = Optimizer::ALL.into_iter().filter(|optimizer| !optimizer.needs_matrices()).map(Optimizer::name);
    let allowed = format!(
        "one of {} with strategy.zero_stage = {} and strategy.update = \"asynchronous\", where nobody waits for the \
         other slices of a matrix",
        of_slices.collect::<Vec<_>>().join(", "),
        strategy.zero as u32
    );
    Err(invalid("strategy.optimizer", strategy.optimizer.name(), allowed, "Or set strategy.zero_stage = 0."))
}

/// The share of elements that is kept.
pub(super) fn share(file: &StrategyFile) -> Checked<f64> {
    let share = file.compression_share.unwrap_or(DEFAULT_SHARE);
    if share.is_finite() && (1e-6..=1.0).contains(&share) {
        return Ok(share);
    }
    let hint = "0.01 keeps one of a hundred.";
    Err(invalid("strategy.compression_share", share, "a number from 0.000001 to 1", hint))
}

/// What a rank did not send it keeps, which it can only of gradients that it has whole.
pub(super) fn compression(strategy: &Strategy) -> Checked<()> {
    if !strategy.compression.has_error_feedback() || !strategy.shards_over_replicas() {
        return Ok(());
    }
    let allowed = format!("none, bf16, fp16 or int8 with strategy.zero_stage = {}", strategy.zero as u32);
    let hint = "Or set strategy.zero_stage = 0.";
    Err(invalid("strategy.gradient_compression", strategy.compression.name(), allowed, hint))
}

/// What the host updates, and what can wait there.
pub(super) fn offload(s: &Strategy, model: &Model) -> Checked<()> {
    let name = s.offload_optimizer.name();
    if s.offload_parameters != Place::Device {
        let path = "strategy.offload_parameters";
        if s.zero != ZeroStage::Parameters || s.sharding_group == 1 {
            let hint = "Set strategy.zero_stage = 3.";
            return Err(invalid(path, s.offload_parameters.name(), "device with whole parameters", hint));
        }
        if s.offload_optimizer == Place::Device {
            let hint = "Set strategy.offload_optimizer, whose update then finds them there.";
            return Err(invalid(path, s.offload_parameters.name(), "device with the optimizer on the device", hint));
        }
    }
    if s.offload_optimizer != Place::Device {
        let path = "strategy.offload_optimizer";
        if s.optimizer.needs_matrices() || s.optimizer == Optimizer::Adam8Bit {
            let allowed = format!("device with strategy.optimizer = {}", s.optimizer.name());
            return Err(invalid(path, name, allowed, "The host updates by adamw, adam, momentum or sgd."));
        }
        if !matches!(s.update, UpdateRule::Synchronous | UpdateRule::BoundedStaleness { .. }) {
            let allowed = format!("device with strategy.update = {}", s.update.name().name());
            return Err(invalid(path, name, allowed, "Or set strategy.update = \"synchronous\"."));
        }
    }
    if s.offload_activations > 0 && (s.tensor_chunks > 1 || model.recommender.is_some()) {
        let allowed = "0 with strategy.tensor_chunks above 1, and for recommenders";
        return Err(invalid("strategy.offload_activations", s.offload_activations, allowed, "Set it to 0."));
    }
    if s.compress_activations && model.mixture.is_some() && s.recompute != Recompute::None {
        let allowed =
            "false where a mixture of experts is computed again: from rounded values it would choose other experts";
        return Err(invalid("strategy.compress_activations", true, allowed, "Or set strategy.recompute = \"none\"."));
    }
    if s.compress_activations && (s.tensor_chunks > 1 || model.recommender.is_some()) {
        let allowed = "false with strategy.tensor_chunks above 1, and for recommenders";
        return Err(invalid("strategy.compress_activations", true, allowed, "Set it to false."));
    }
    Ok(())
}
