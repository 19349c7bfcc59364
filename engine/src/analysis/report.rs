//! The figures of a step: time, throughput, utilisation, bubble, exposed communication, memory, fit.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::beside::{Beside, beside_tensors};
use super::{Breakdown, breakdowns};
use crate::cluster::{Device, RankId};
use crate::cost;
use crate::graph::{OpKind, Part, StepGraph, lower};
use crate::scenario::{Precision, Scenario, UpdateRule};
use crate::sim::simulate;
use crate::trace::{MemoryCategory, MemoryUse, Origin, Phase, Trace};
use crate::units::{Bytes, Flops, FlopsPerSec, Nanos};

/// Exposed communication of the critical group of ranks by axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExposedCommunication {
    /// Tensor group.
    pub tp: Nanos,
    /// Context group.
    pub cp: Nanos,
    /// Expert group.
    pub ep: Nanos,
    /// Data group.
    pub dp: Nanos,
    /// Between pipeline stages.
    pub pp: Nanos,
    /// Across the model: gradient norm, tied embedding.
    pub model: Nanos,
}

/// Peak memory of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StagePeak {
    /// The stage.
    pub stage: u32,
    /// What is in use at the peak.
    pub used: MemoryUse,
    /// All of it.
    pub total: Bytes,
}

/// Whether the step fits into the devices' memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fit {
    /// Whether every stage fits.
    pub fits: bool,
    /// Capacity of a device.
    pub capacity: Bytes,
    /// The stage that needs the most.
    pub stage: u32,
    /// What its tensors need.
    pub needed: Bytes,
    /// What its process holds beside them, of a modelled step.
    pub beside: Beside,
    /// The biggest category there.
    pub biggest: MemoryCategory,
    /// Its size.
    pub biggest_bytes: Bytes,
}

/// Where the time goes on one group of identical ranks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GroupBreakdown {
    /// Their pipeline stage.
    pub stage: u32,
    /// How many they are.
    pub ranks: u32,
    /// The parts of their step time.
    pub parts: Breakdown,
}

/// The figures of a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepReport {
    /// Where the figures come from.
    pub origin: Origin,
    /// From the first start to the last end.
    pub step_time: Nanos,
    /// Where four fifths of the published runs on the device would lie, if this were one of them; modelled steps on
    /// devices whose predictions were held against measurements only.
    pub interval: Option<[Nanos; 2]>,
    /// The same on average over many steps: where an outer step comes only now and then, most are shorter than this one.
    pub mean_step_time: Nanos,
    /// Tokens of the step over its mean time, over all ranks; where replicas wait for nobody, each at its own pace.
    pub tokens_per_s: f64,
    /// Sequences, images or samples of the step over its time, over all ranks.
    pub samples_per_s: f64,
    /// Model FLOPs of the step over what all devices could do at peak (PaLM, Chowdhery et al. 2022, appendix B);
    /// recomputation is not counted.
    pub mfu: f64,
    /// As `mfu`, with recomputation counted.
    pub hfu: f64,
    /// Bubble of the average rank over the step time.
    pub bubble_fraction: f64,
    /// Exposed communication of the critical group.
    pub exposed_communication: ExposedCommunication,
    /// Parts of the step time of the critical group: that with the most compute.
    pub breakdown: Breakdown,
    /// The critical group's stage.
    pub critical_stage: u32,
    /// The same for every group of ranks.
    pub groups: Vec<GroupBreakdown>,
    /// Peak memory of every stage.
    pub peak_memory: Vec<StagePeak>,
    /// Whether it fits.
    pub fit: Fit,
    /// Layers of which anything is computed again.
    pub repeated_layers: u32,
    /// What a rank keeps outside its device when that is most, of the stage that keeps the most.
    pub outside: Bytes,
    /// Model FLOPs of the step over all ranks.
    pub model_flops: Flops,
}

/// Computes the figures of a step from its trace.
pub fn step_report(step: &StepGraph, scenario: &Scenario, trace: &Trace) -> StepReport {
    let groups = group_breakdowns(trace);
    // The first of equals, so that folding changes nothing.
    let critical = groups.iter().rev().max_by_key(|group| group.parts.compute()).copied().unwrap_or_default();
    let (model, hardware) = flops(step);
    let peak_memory = peaks(step, trace);
    let mean_step_time = mean_step_time(scenario, trace);
    let secs = mean_step_time.secs().max(1e-9);
    // How much more than replicas that wait for the slowest they do.
    let ahead = if scenario.strategy().update == UpdateRule::Asynchronous { pace(trace) } else { 1.0 };
    let (secs, trace_secs) = (secs / ahead, trace.step_time.secs().max(1e-9));
    let available = peak_rate(scenario).0 * f64::from(scenario.mesh().ranks()) * secs;
    let ranks: f64 = groups.iter().map(|group| f64::from(group.ranks)).sum();
    let bubble: f64 = groups.iter().map(|group| group.parts.bubble.secs() * f64::from(group.ranks)).sum();
    let parts = critical.parts;
    StepReport {
        origin: trace.origin,
        step_time: trace.step_time,
        mean_step_time,
        interval: interval(scenario, trace),
        tokens_per_s: scenario.step_tokens() as f64 / secs,
        samples_per_s: scenario.step_samples() as f64 / secs,
        mfu: model.0 / available,
        hfu: hardware.0 / available,
        bubble_fraction: bubble / (ranks.max(1.0) * trace_secs),
        exposed_communication: ExposedCommunication {
            tp: parts.exposed_tp,
            cp: parts.exposed_cp,
            ep: parts.exposed_ep,
            dp: parts.exposed_dp,
            pp: parts.exposed_pp,
            model: parts.exposed_model,
        },
        breakdown: parts,
        critical_stage: critical.stage,
        repeated_layers: repeated_layers(step),
        outside: step.stages.iter().map(|stage| stage.memory.outside).max().unwrap_or(Bytes::ZERO),
        fit: fit(step, scenario, &peak_memory, trace.origin),
        groups,
        peak_memory,
        model_flops: model,
    }
}

fn repeated_layers(step: &StepGraph) -> u32 {
    let ops = step.ops();
    let repeats = ops.filter(|op| op.phase == Phase::Recompute && matches!(op.part, Part::Layer(_)));
    u32::try_from(repeats.map(|op| op.part).collect::<BTreeSet<_>>().len()).unwrap_or(u32::MAX)
}

/// The mean over an outer step and those between it and the next.
fn mean_step_time(scenario: &Scenario, trace: &Trace) -> Nanos {
    let Some((between, interval)) = scenario.between_outer_steps() else { return trace.step_time };
    let others = simulate(&lower(&between), &between).step_time;
    let interval = i64::from(interval);
    Nanos((others.0 * (interval - 1) + trace.step_time.0) / interval)
}

/// Steps that ranks take while the slowest takes one, on average over all ranks.
fn pace(trace: &Trace) -> f64 {
    let mut ends: BTreeMap<u32, Nanos> = BTreeMap::new();
    for span in &trace.spans {
        let end = ends.entry(trace.track(span).group).or_default();
        *end = (*end).max(span.end());
    }
    let mut groups: Vec<_> = trace.tracks.iter().map(|track| (track.group, track.ranks)).collect();
    groups.dedup();
    let (mut steps, mut ranks) = (0.0, 0.0);
    for (group, count) in groups {
        let end = ends.get(&group).copied().unwrap_or(trace.step_time).secs().max(1e-9);
        steps += f64::from(count) * trace.step_time.secs() / end;
        ranks += f64::from(count);
    }
    if ranks > 0.0 { steps / ranks } else { 1.0 }
}

/// The step time times the residuals of the device.
fn interval(scenario: &Scenario, trace: &Trace) -> Option<[Nanos; 2]> {
    let residuals = scenario.cluster().device.residuals.filter(|_| trace.origin == Origin::Modelled)?;
    #[expect(clippy::cast_possible_truncation, reason = "a few times a step time, which is below three years")]
    Some(residuals.map(|ratio| Nanos((trace.step_time.0 as f64 * ratio).round() as i64)))
}

/// The breakdown of every group of ranks.
fn group_breakdowns(trace: &Trace) -> Vec<GroupBreakdown> {
    let mut groups: Vec<_> = trace.tracks.iter().map(|track| (track.group, track.stage, track.ranks)).collect();
    groups.dedup();
    let parts = breakdowns(trace);
    let of_group = |(group, stage, ranks)| {
        let idle = || Breakdown { bubble: trace.step_time, ..Breakdown::default() };
        GroupBreakdown { stage, ranks, parts: parts.get(&group).copied().unwrap_or_else(idle) }
    };
    groups.into_iter().map(of_group).collect()
}

/// The datasheet's matmul peak for the precision, what utilisation is measured against: the mean over all ranks.
pub fn peak_rate(scenario: &Scenario) -> FlopsPerSec {
    let (cluster, ranks) = (scenario.cluster(), scenario.mesh().ranks());
    let of_device = |device: &Device| match scenario.strategy().precision {
        Precision::Bf16 => device.bf16_matmul.0,
        Precision::Fp16 => device.fp16_matmul.0,
        Precision::Fp8 | Precision::Fp8Block => device.fp8_matmul.0,
        Precision::Nvfp4 => device.fp4_matmul.0,
        Precision::Tf32 => device.tf32_matmul.0,
        Precision::Fp32 => device.fp32_matmul.0,
    };
    if cluster.exceptions.is_empty() {
        return FlopsPerSec(of_device(&cluster.device));
    }
    let all = (0..ranks).map(|rank| of_device(cluster.device_of(RankId(rank)))).sum::<f64>();
    FlopsPerSec(all / f64::from(ranks))
}

/// Matmul FLOPs of a step over all ranks, without and with recomputation. Causal attention counts the half of the
/// scores that is used.
fn flops(step: &StepGraph) -> (Flops, Flops) {
    let (mut model, mut hardware) = (0.0, 0.0);
    let ranks = f64::from(step.mesh.per_stage());
    for stage in &step.stages {
        for (index, segment) in stage.segments.iter().enumerate() {
            let runs = stage.tasks.iter().filter(|task| task.segment.0 as usize == index).count() as f64;
            for op in segment.ops() {
                let work = cost::work(&step.dims, &step.tensors, op).matmul_flops.0 * ranks * runs;
                hardware += work;
                if op.phase != Phase::Recompute {
                    // Slack of experts' capacity is no work of the model.
                    let grouped = matches!(op.kind, OpKind::GroupedMatmul { .. });
                    model += work * if grouped { step.dims.routed_share } else { 1.0 };
                }
            }
        }
    }
    (Flops(model), Flops(hardware))
}

/// Peak memory of every stage: planned for a modelled step, and as the pools handed it out for an executed one.
fn peaks(step: &StepGraph, trace: &Trace) -> Vec<StagePeak> {
    let planned = (0..).zip(&step.stages).map(|(stage, program)| (stage, program.memory.at_peak));
    let peak = |(stage, planned)| {
        let used = if trace.origin == Origin::Modelled { planned } else { measured_peak(trace, stage) };
        StagePeak { stage, used, total: used.total() }
    };
    planned.map(peak).collect()
}

/// What was in use on a rank of `stage` when it was most, the first such moment.
fn measured_peak(trace: &Trace, stage: u32) -> MemoryUse {
    let curves = trace.memory.iter().filter(|curve| curve.stage == stage);
    let samples = curves.flat_map(|curve| &curve.samples).map(|sample| sample.used);
    samples.fold(MemoryUse::default(), |peak, used| if used.total() > peak.total() { used } else { peak })
}

fn fit(step: &StepGraph, scenario: &Scenario, peaks: &[StagePeak], origin: Origin) -> Fit {
    let capacity = scenario.device_memory();
    let worst = peaks.iter().rev().max_by_key(|peak| peak.total);
    let (stage, used) = worst.map_or((0, MemoryUse::default()), |peak| (peak.stage, peak.used));
    let biggest = used.biggest();
    let needed = used.total();
    let beside = if origin == Origin::Modelled { beside_tensors(step, scenario, stage) } else { Beside::default() };
    let fits = needed + beside.total() <= capacity;
    Fit { fits, capacity, stage, needed, beside, biggest, biggest_bytes: used.get(biggest) }
}
