//! What any step of a strategy takes at least, in time and in memory, from the costs of its parts.

use super::probe::{PartCost, Probe};
use crate::scenario::{ChunkLayout, PipelineSchedule, Place, Recompute, Strategy, ZeroStage};
use crate::units::{Bytes, Nanos};

/// Lower bounds of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// No step is faster.
    pub time: Nanos,
    /// The stage that needs the most needs no less.
    pub memory: Bytes,
}

/// The bounds of a strategy.
pub(super) fn bounds(probe: &Probe, s: &Strategy) -> Bounds {
    let stages = stages(probe, s);
    Bounds { time: time(&stages, s), memory: memory(&stages, s) }
}

/// The cost of every chunk of every stage.
fn stages(probe: &Probe, s: &Strategy) -> Vec<Vec<PartCost>> {
    let layout = s.layout();
    let mut stages = vec![vec![PartCost::default(); layout.chunks as usize]; layout.stages as usize];
    let length = layout.length();
    for (depth, first, count) in layout.layers(&s.stage_layers) {
        let (stage, chunk) = layout.place(depth);
        let (before, behind) = (depth % length, length - 1 - depth % length);
        let mut cost = probe.cost(first, count, before == 0, behind == 0);
        if s.overlap_micro_batches {
            // Another micro-batch computes while this one communicates.
            [cost.forward, cost.backward] = cost.kernels;
        }
        stages[stage as usize][chunk as usize] = cost;
    }
    stages
}

/// A stage computes for every micro-batch, one part after the other. Before it, one micro-batch passes the stages
/// before it; behind it, the last micro-batch's gradients pass them again, unless weight gradients are left for then.
fn time(stages: &[Vec<PartCost>], s: &Strategy) -> Nanos {
    let copies = s.layout().copies();
    let micro_batches = i64::from(s.global_batch / (s.micro_batch * s.data_parallel) / copies);
    let in_order = s.schedule.layout() == ChunkLayout::Loop && !matches!(s.schedule, PipelineSchedule::Custom { .. });
    let (mut fill, mut drain, mut longest) = (Nanos::ZERO, Nanos::ZERO, Nanos::ZERO);
    for chunks in stages {
        let busy: Nanos = chunks.iter().map(|chunk| chunk.forward + chunk.backward).sum();
        longest = longest.max(fill + busy * micro_batches + drain);
        if let Some(first) = chunks.first().filter(|_| in_order) {
            fill += first.forward;
            if !s.schedule.splits_backward() {
                drain += first.after_gradient;
            }
        }
    }
    longest
}

fn memory(stages: &[Vec<PartCost>], s: &Strategy) -> Bytes {
    let of_stage = |(stage, chunks): (usize, &Vec<PartCost>)| {
        let weights: u64 = chunks.iter().map(|chunk| persistent(chunk, s)).sum();
        weights + in_flight(stage, chunks, s)
    };
    Bytes(stages.iter().enumerate().map(of_stage).max().unwrap_or(0))
}

/// Weights, gradients and optimizer state: a rank holds its slice of what is sharded.
fn persistent(cost: &PartCost, s: &Strategy) -> u64 {
    let mesh = s.mesh();
    let groups =
        if s.shards_over_replicas() { [u64::from(mesh.shard), u64::from(mesh.expert_shard())] } else { [1, 1] };
    let slice = |bytes: [u64; 2], from: ZeroStage| -> u64 {
        let shares = bytes.iter().zip(groups).map(|(bytes, group)| if s.zero >= from { bytes / group } else { *bytes });
        shares.sum()
    };
    let here = |place: Place, bytes: u64| if place == Place::Device { bytes } else { 0 };
    here(s.offload_parameters, slice(cost.weights.parameters, ZeroStage::Parameters))
        + slice(cost.weights.gradients, ZeroStage::Gradients)
        + here(s.offload_optimizer, slice(cost.weights.optimizer, ZeroStage::OptimizerState))
}

/// What forwards keep whose backward is still to come, when they are most.
fn in_flight(stage: usize, chunks: &[PartCost], s: &Strategy) -> u64 {
    if s.offload_activations > 0 || s.recompute == Recompute::Budget {
        return 0;
    }
    let stages = u64::from(s.pipeline_parallel);
    let micro_batches = u64::from(s.global_batch / (s.micro_batch * s.data_parallel));
    let behind = stages - stage as u64;
    let all: u64 = chunks.iter().map(|chunk| chunk.saved).sum();
    match s.schedule {
        PipelineSchedule::GPipe => micro_batches * all,
        PipelineSchedule::OneFOneB | PipelineSchedule::ZeroBubbleH1 => micro_batches.min(behind) * all,
        PipelineSchedule::ZeroBubbleH2 => micro_batches.min(2 * behind - 1) * all,
        PipelineSchedule::Interleaved => {
            // Narayanan et al. 2021, section 2.2: two for every stage behind, and all chunks before the last.
            let count = chunks.len() as u64;
            let warm_up = (behind - 1) * 2 + (count - 1) * stages + 1;
            let smallest = chunks.iter().map(|chunk| chunk.saved).min().unwrap_or(0);
            all.max(warm_up.min(micro_batches * count) * smallest)
        }
        PipelineSchedule::ZeroBubbleV
        | PipelineSchedule::DualPipeV
        | PipelineSchedule::DualPipe
        | PipelineSchedule::Custom { .. } => all,
    }
}
