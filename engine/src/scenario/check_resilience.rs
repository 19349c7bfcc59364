//! Checks what is said of checkpoints and failures.

use super::check::{Checked, bounded, invalid};
use super::check_input::{fraction, rate};
use super::resilience::{CheckpointFile, CheckpointMode, Checkpointing, Reliability, ReliabilityFile, Resilience};
use super::{Optimizer, ScenarioFile};
use crate::cluster::Cluster;
use crate::model::{Model, ParameterCount};
use crate::units::{Bytes, BytesPerSec, Nanos};

const MINUTE: i64 = 60_000_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Failures over the whole horizon, at most: thousands of runs are played.
const MAX_FAILURES: f64 = 1e4;

/// Checkpoints from a whole one to the next, at most.
const MAX_ROUND: u32 = 100;

/// What `file` says of them; none where it says nothing.
pub(super) fn check_resilience(
    file: &ScenarioFile,
    model: &Model,
    cluster: &Cluster,
    optimizer: Optimizer,
) -> Checked<Option<Resilience>> {
    if file.checkpoint.is_none() && file.reliability.is_none() {
        return Ok(None);
    }
    let checkpoint = check_checkpoint(&file.checkpoint.clone().unwrap_or_default(), cluster)?;
    let reliability = check_reliability(&file.reliability.clone().unwrap_or_default(), cluster)?;
    let failures = reliability.horizon.secs() * reliability.failure_rate(cluster).iter().sum::<f64>();
    if failures > MAX_FAILURES {
        let allowed = format!("at most {MAX_FAILURES:e} failures in all, here {failures:.1e}");
        let hint = "Raise the times between failures, or shorten reliability.horizon.";
        return Err(invalid("reliability.device_mtbf", reliability.device_mtbf, allowed, hint));
    }
    Ok(Some(Resilience { checkpoint, reliability, state: state_of(model, optimizer) }))
}

/// Bytes of what a run keeps: fp32 weights and what the optimizer keeps of them, each once.
pub fn state_of(model: &Model, optimizer: Optimizer) -> Bytes {
    Bytes(ParameterCount::of(model).total().saturating_mul(bytes_of_parameter(optimizer)))
}

/// fp32 weights and what the optimizer keeps of a parameter.
fn bytes_of_parameter(optimizer: Optimizer) -> u64 {
    4 + match optimizer {
        Optimizer::Sgd | Optimizer::Adafactor => 0,
        Optimizer::Momentum | Optimizer::Muon => 4,
        Optimizer::Adam8Bit => 2,
        Optimizer::Adam | Optimizer::AdamW => 8,
    }
}

fn check_checkpoint(file: &CheckpointFile, cluster: &Cluster) -> Checked<Checkpointing> {
    if file.mode == CheckpointMode::Peer && cluster.nodes == 1 {
        let hint = "A single node has no other to keep its state.";
        return Err(invalid("checkpoint.mode", "peer_memory", "another way, or cluster.nodes of at least 2", hint));
    }
    let node_bandwidth = rate(file.node_bandwidth, "checkpoint.node_bandwidth", BytesPerSec(2e9))?;
    let all = BytesPerSec(node_bandwidth.0 * f64::from(cluster.nodes));
    let share = fraction(file.share, "checkpoint.share", 1.0, [0.001, 1.0])?;
    let usual = if share < 1.0 { 10 } else { 1 };
    Ok(Checkpointing {
        mode: file.mode,
        interval: file
            .interval
            .map(|interval| bounded(Some(interval), "checkpoint.interval", 1_000_000))
            .transpose()?,
        share,
        full_every: bounded(Some(file.full_every.unwrap_or(usual)), "checkpoint.full_every", MAX_ROUND)?,
        bandwidth: rate(file.bandwidth, "checkpoint.bandwidth", all)?,
        node_bandwidth,
    })
}

fn check_reliability(file: &ReliabilityFile, cluster: &Cluster) -> Checked<Reliability> {
    let mtbf = |value: Option<Nanos>, path, hours: i64| span(value, path, Nanos(hours * HOUR), Nanos(1_000_000_000));
    let soon = |value: Option<Nanos>, path, default: i64| span(value, path, Nanos(default), Nanos::ZERO);
    let horizon = span(file.horizon, "reliability.horizon", Nanos(30 * DAY), Nanos(HOUR))?;
    if horizon > Nanos(3650 * DAY) {
        return Err(invalid("reliability.horizon", horizon, "at most 3650 d", "For example \"30 d\"."));
    }
    let spares = file.spares.unwrap_or((cluster.nodes / 50).max(1));
    Ok(Reliability {
        device_mtbf: mtbf(file.device_mtbf, "reliability.device_mtbf", 86_000)?,
        node_mtbf: mtbf(file.node_mtbf, "reliability.node_mtbf", 22_000)?,
        job_mtbf: mtbf(file.job_mtbf, "reliability.job_mtbf", 24)?,
        detect: soon(file.detect, "reliability.detect", MINUTE)?,
        replace: soon(file.replace, "reliability.replace", 2 * MINUTE)?,
        restart: soon(file.restart, "reliability.restart", 5 * MINUTE)?,
        repair: soon(file.repair, "reliability.repair", DAY)?,
        spares: if spares == 0 { 0 } else { bounded(Some(spares), "reliability.spares", 1 << 16)? },
        horizon,
    })
}

/// A time that is no shorter than `least`, and no longer than two centuries.
fn span(value: Option<Nanos>, path: &'static str, default: Nanos, least: Nanos) -> Checked<Nanos> {
    let value = value.unwrap_or(default);
    if (least..=Nanos(73_000 * DAY)).contains(&value) {
        return Ok(value);
    }
    Err(invalid(path, value, format!("a time from {least} to 73000 d"), "For example \"5 min\" or \"86000 h\"."))
}
