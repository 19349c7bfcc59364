//! The rule by which gradients of other replicas reach the parameters, and what it excludes.

use super::check::{Checked, bounded, invalid};
use super::update_rule::DEFAULT_INTERVAL;
use super::{Compression, Optimizer, Strategy, StrategyFile, UpdateName, UpdateRule, ZeroStage};
use crate::cluster::Cluster;
use crate::model::Model;

/// The rule with what belongs to it.
pub(super) fn rule(file: &StrategyFile) -> Checked<UpdateRule> {
    Ok(match file.update {
        UpdateName::Synchronous => UpdateRule::Synchronous,
        UpdateName::BoundedStaleness => {
            UpdateRule::BoundedStaleness { steps: bounded(file.staleness.or(Some(1)), "strategy.staleness", 64)? }
        }
        UpdateName::Asynchronous => UpdateRule::Asynchronous,
        UpdateName::LocalSgd => {
            let interval = file.sync_interval.or(Some(DEFAULT_INTERVAL));
            UpdateRule::LocalSgd { interval: Some(bounded(interval, "strategy.sync_interval", 1 << 20)?) }
        }
    })
}

/// Replicas that push gradients push them to owners of slices, as in stage 1.
pub(super) fn owners(strategy: &mut Strategy) -> Checked<()> {
    if strategy.update != UpdateRule::Asynchronous {
        return Ok(());
    }
    if strategy.zero > ZeroStage::OptimizerState {
        let allowed = "0 or 1 with strategy.update = asynchronous, whose slices have owners as in stage 1";
        let hint = "Set strategy.zero_stage = 1.";
        return Err(invalid("strategy.zero_stage", strategy.zero as u32, allowed, hint));
    }
    strategy.zero = ZeroStage::OptimizerState;
    Ok(())
}

/// What goes with updates that do not wait for all replicas.
pub(super) fn update(s: &Strategy, model: &Model, cluster: &Cluster) -> Checked<()> {
    let name = s.update.name().name();
    let refuse = |path, value: String, allowed: &str, hint: &str| {
        Err(invalid(path, value, format!("{allowed} with strategy.update = {name}"), hint))
    };
    let other = "Or set strategy.update = \"synchronous\".";
    let alone = matches!(s.update, UpdateRule::Asynchronous | UpdateRule::LocalSgd { .. });
    let split = model.mixture.is_some() && s.tensor_parallel != s.expert_tensor_parallel;
    match s.update {
        UpdateRule::Synchronous => Ok(()),
        _ if s.context_parallel > 1 => refuse("strategy.context_parallel", s.context_parallel.to_string(), "1", other),
        _ if s.expert_parallel > 1 || model.recommender.is_some() => {
            refuse("strategy.expert_parallel", s.expert_parallel.to_string(), "1, and no embedding tables,", other)
        }
        _ if alone && split => {
            let allowed = "as many as strategy.tensor_parallel";
            let hint = "Replicas then share no copies of experts among their own ranks.";
            refuse("strategy.expert_tensor_parallel", s.expert_tensor_parallel.to_string(), allowed, hint)
        }
        UpdateRule::LocalSgd { .. } if s.optimizer == Optimizer::Muon && s.shards_over_replicas() => {
            let hint = "Its momenta are gathered, its parameters are not.";
            refuse("strategy.zero_stage", (s.zero as u32).to_string(), "0 for muon", hint)
        }
        UpdateRule::BoundedStaleness { .. } if s.shards_over_replicas() => {
            refuse("strategy.zero_stage", (s.zero as u32).to_string(), "0", other)
        }
        UpdateRule::LocalSgd { .. } if s.shards_over_replicas() && s.sharding_group == s.copies() => {
            let allowed = "fewer replicas than there are";
            let hint = "Each sharding group then steps by itself; or set strategy.zero_stage = 0.";
            refuse("strategy.sharding_group", s.sharding_group.to_string(), allowed, hint)
        }
        UpdateRule::Asynchronous if s.sharding_group != s.copies() => {
            refuse("strategy.sharding_group", s.sharding_group.to_string(), "all replicas", "Leave it out.")
        }
        UpdateRule::Asynchronous if s.compression != Compression::None => {
            refuse("strategy.gradient_compression", s.compression.name().to_owned(), "none", other)
        }
        UpdateRule::Asynchronous if cluster.contention => {
            let hint = "What replicas push meets no partner whose pace it could keep.";
            refuse("cluster.network.contention", "true".to_owned(), "false", hint)
        }
        _ => Ok(()),
    }
}
