//! Last pass: liveness → allocations.
//!
//! Persistent tensors live through the step. A value of a micro-batch lives from the op that writes it first to
//! the op that mentions it last, also where that is in another segment: what the backward pass reads lives until then.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::{
    Op, OpKind, Role, Segment, SegmentKind, SegmentMemory, Stage, StageMemory, StepGraph, Task, Tensor, TensorId,
    TensorMap,
};
use crate::scenario::Place;
use crate::trace::{MemoryCategory, MemoryUse};
use crate::units::Bytes;

/// Fills in what every segment allocates and frees, and what every stage needs.
pub fn plan_memory(mut step: StepGraph) -> StepGraph {
    let mut stages = std::mem::take(&mut step.stages);
    let (mut lives, mut mentions) = (TensorMap::new(step.tensors.len()), TensorMap::new(step.tensors.len()));
    for stage in &mut stages {
        find_lives(&step, stage, &mut lives);
        for segment in &mut stage.segments {
            segment.memory = segment_memory(&step, segment, &lives, &mut mentions);
        }
        let saved = crossing(&lives);
        for segment in &mut stage.segments {
            segment.memory.profile = profile(&step, segment, &saved);
        }
        stage.memory = stage_memory(&step, stage);
    }
    step.stages = stages;
    step
}

/// A kind of segment, its chunk and its piece: what runs for one micro-batch or another.
type Family = (SegmentKind, u32, u32);

/// The first and the last family that mention a tensor of a micro-batch.
type Lives = TensorMap<(Family, Family)>;

/// The allocation-owning tensors that live from one segment of a micro-batch to a later one.
pub fn saved(step: &StepGraph, stage: &Stage) -> BTreeSet<TensorId> {
    let mut lives = TensorMap::new(step.tensors.len());
    find_lives(step, stage, &mut lives);
    crossing(&lives)
}

fn crossing(lives: &Lives) -> BTreeSet<TensorId> {
    lives.iter().filter(|(_, (first, last))| first != last).map(|(id, _)| id).collect()
}

/// In the order in which the stage runs them for a micro-batch, the families that mention each tensor.
fn find_lives(step: &StepGraph, stage: &Stage, lives: &mut Lives) {
    lives.clear();
    for segment in in_order(stage) {
        let family = segment.family();
        for id in segment.ops().flat_map(|op| roots(step, op)) {
            lives.update(id, |known| (known.map_or(family, |(first, _)| first), family));
        }
    }
}

/// The segments of a stage, each once: those of the whole step, and between them those of a micro-batch as they run.
fn in_order(stage: &Stage) -> Vec<&Segment> {
    let mut order: Vec<&Segment> = Vec::new();
    let first = stage.tasks.iter().find_map(|task| task.micro_batch);
    // A second copy of the model has micro-batches of its own.
    let mut of_chunk: BTreeMap<u32, Option<u32>> = BTreeMap::new();
    for task in stage.tasks.iter().filter(|task| task.micro_batch.is_some()) {
        let known = of_chunk.entry(stage.segment(*task).chunk).or_insert(task.micro_batch);
        *known = if task.micro_batch == first { first } else { *known };
    }
    let mut seen = BTreeSet::new();
    let counts = |task: &&Task| {
        task.micro_batch.is_none() || of_chunk.get(&stage.segment(**task).chunk) == Some(&task.micro_batch)
    };
    for task in stage.tasks.iter().filter(counts) {
        let family = stage.segment(*task).family();
        if seen.insert(family) {
            order.extend(stage.segments.iter().filter(|segment| segment.family() == family));
        }
    }
    order
}

/// The allocations of a micro-batch that an op mentions.
fn roots(step: &StepGraph, op: &Op) -> impl Iterator<Item = TensorId> {
    let all = op.reads.iter().chain(&op.writes).map(|&id| step.storage_of(id));
    all.filter(|&id| !step.tensor(id).role.is_persistent() && is_here(step, id))
}

/// `mentions` is room for the first and the last op that mention each tensor.
fn segment_memory(
    step: &StepGraph,
    segment: &Segment,
    lives: &Lives,
    mentions: &mut TensorMap<(usize, usize)>,
) -> SegmentMemory {
    let ops = segment.graph.node_count();
    let (allocates, frees) = (vec![Vec::new(); ops], vec![Vec::new(); ops]);
    let mut memory = SegmentMemory { allocates, frees, ..SegmentMemory::default() };
    mentions.clear();
    for (index, op) in segment.ops().enumerate() {
        for id in roots(step, op) {
            mentions.update(id, |known| (known.map_or(index, |(first, _)| first), index));
        }
    }
    let family = segment.family();
    let mut mentioned: Vec<_> = mentions.iter().collect();
    mentioned.sort_unstable();
    for (id, (first, last)) in mentioned {
        let (born, dies) = lives.get(id).unwrap_or((family, family));
        if born == family {
            memory.allocates[first].push(id);
        }
        if dies == family {
            memory.frees[last].push(id);
        }
    }
    memory
}

/// The category of a tensor: what is kept from forward to backward is an activation, other values are buffers.
pub fn category(role: Role, saved: bool) -> MemoryCategory {
    match role {
        Role::Parameter | Role::ParameterBucket | Role::ParameterBuffer => MemoryCategory::Parameters,
        Role::Gradient | Role::ComputedGradient | Role::Bucket | Role::GradientBuffer => MemoryCategory::Gradients,
        Role::MasterWeight | Role::Moment => MemoryCategory::OptimizerState,
        Role::Input | Role::Activation if saved => MemoryCategory::Activations,
        Role::Input | Role::Activation | Role::Scratch | Role::Scalar => MemoryCategory::Buffers,
    }
}

/// Persistent, allocation-owning tensors that a stage mentions.
pub fn persistent(step: &StepGraph, stage: &Stage) -> BTreeSet<TensorId> {
    let ids = stage.segments.iter().flat_map(Segment::ops).flat_map(|op| op.reads.iter().chain(&op.writes));
    let roots = ids.map(|&id| step.storage_of(id));
    let mut kept: Vec<_> = roots.filter(|&id| step.tensor(id).role.is_persistent() && is_here(step, id)).collect();
    kept.sort_unstable();
    kept.dedup();
    kept.into_iter().collect()
}

/// As [`persistent`], of what lies outside the device.
pub fn persistent_outside(step: &StepGraph, stage: &Stage) -> BTreeSet<TensorId> {
    let ids = stage.segments.iter().flat_map(Segment::ops).flat_map(|op| op.reads.iter().chain(&op.writes));
    let roots = ids.map(|&id| step.storage_of(id));
    roots.filter(|&id| step.tensor(id).role.is_persistent() && !is_here(step, id)).collect()
}

/// Whether a tensor is in the device's memory.
fn is_here(step: &StepGraph, id: TensorId) -> bool {
    step.tensor(id).place == Place::Device
}

/// What a stage keeps outside the device, when that is most: what lives from step to step, and what waits there for a
/// backward pass.
fn outside(step: &StepGraph, stage: &Stage) -> Bytes {
    if step.tensors.iter().all(|tensor| tensor.place == Place::Device) {
        return Bytes::ZERO;
    }
    let ops = || stage.segments.iter().flat_map(Segment::ops);
    let all: BTreeSet<TensorId> =
        ops().flat_map(|op| op.reads.iter().chain(&op.writes)).map(|&id| step.storage_of(id)).collect();
    let away = all.into_iter().map(|id| step.tensor(id)).filter(|tensor| tensor.place != Place::Device);
    let (kept, passing): (Vec<&Tensor>, Vec<&Tensor>) = away.partition(|tensor| tensor.role.is_persistent());
    let sum = |tensors: Vec<&Tensor>| tensors.into_iter().map(Tensor::allocated).sum::<Bytes>();
    // All gradients arrive before the last is updated with.
    let arrived = sum(passing.into_iter().filter(|tensor| tensor.role == Role::Scratch).collect());
    let kept = sum(kept);
    let (mut now, mut most) = (0_i64, 0_i64);
    for op in stage.tasks.iter().flat_map(|&task| stage.segment(task).ops()) {
        let waits = |id: &TensorId| step.tensor(*id).place == Place::Host && step.tensor(*id).role == Role::Activation;
        let bytes = |id: TensorId| i64::try_from(step.tensor(id).allocated().0).unwrap_or(i64::MAX);
        match op.kind {
            OpKind::ToHost => now += op.writes.iter().copied().filter(waits).map(bytes).sum::<i64>(),
            OpKind::FromHost => now -= op.reads.iter().copied().filter(waits).map(bytes).sum::<i64>(),
            _ => {}
        }
        most = most.max(now);
    }
    kept + arrived.max(Bytes(u64::try_from(most).unwrap_or(0)))
}

fn stage_memory(step: &StepGraph, stage: &Stage) -> StageMemory {
    let mut base = MemoryUse::default();
    for id in persistent(step, stage) {
        let tensor = step.tensor(id);
        *base.get_mut(category(tensor.role, false)) += tensor.allocated();
    }
    let mut memory = StageMemory {
        persistent: base,
        at_peak: base,
        peaks: base,
        outside: outside(step, stage),
        forwards_in_flight: 0,
    };
    let (mut now, mut in_flight) = (base, 0_u32);
    for task in &stage.tasks {
        let profile = &stage.segment(*task).memory.profile;
        let at_peak = profile.at_peak.applied_to(now);
        if at_peak.total() > memory.at_peak.total() {
            memory.at_peak = at_peak;
        }
        memory.peaks.raise_to(&profile.peaks.applied_to(now));
        now = profile.end.applied_to(now);
        let segment = stage.segment(*task);
        match segment.kind {
            SegmentKind::Forward => in_flight += u32::from(segment.piece.number == 0),
            SegmentKind::Backward | SegmentKind::BackwardLast => in_flight -= u32::from(segment.piece.last),
            SegmentKind::Begin | SegmentKind::Weight | SegmentKind::WeightLast | SegmentKind::Update => {}
        }
        memory.forwards_in_flight = memory.forwards_in_flight.max(in_flight);
    }
    memory
}

/// A change of memory use; negative where more was freed than allocated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change([i64; 5]);

impl Change {
    fn add(&mut self, category: MemoryCategory, bytes: Bytes, sign: i64) {
        self.0[category as usize] += sign * i64::try_from(bytes.0).unwrap_or(i64::MAX);
    }

    fn total(&self) -> i64 {
        self.0.iter().sum()
    }

    /// `base` after the change.
    pub fn applied_to(&self, mut base: MemoryUse) -> MemoryUse {
        for category in MemoryCategory::ALL {
            let bytes = base.get_mut(category);
            *bytes = Bytes(bytes.0.saturating_add_signed(self.0[category as usize]));
        }
        base
    }
}

/// How memory changes within a segment, relative to its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// After the allocations of each op, and after its frees.
    pub ops: Vec<(Change, Change)>,
    /// When the sum is largest.
    pub at_peak: Change,
    /// The op at which it is.
    pub peak_op: usize,
    /// The largest value of each category on its own.
    pub peaks: Change,
    /// At the end.
    pub end: Change,
}

/// The course of memory within a segment.
fn profile(step: &StepGraph, segment: &Segment, saved: &BTreeSet<TensorId>) -> Profile {
    let mut profile = Profile::default();
    let mut now = Change::default();
    let cost = |id: &TensorId| {
        let tensor = step.tensor(*id);
        (category(tensor.role, saved.contains(id)), tensor.allocated())
    };
    for (index, (allocates, frees)) in segment.memory.allocates.iter().zip(&segment.memory.frees).enumerate() {
        for (category, bytes) in allocates.iter().map(cost) {
            now.add(category, bytes, 1);
        }
        let after_allocation = now;
        if now.total() > profile.at_peak.total() {
            (profile.at_peak, profile.peak_op) = (now, index);
        }
        for (peak, value) in profile.peaks.0.iter_mut().zip(now.0) {
            *peak = value.max(*peak);
        }
        for (category, bytes) in frees.iter().map(cost) {
            now.add(category, bytes, -1);
        }
        profile.ops.push((after_allocation, now));
    }
    profile.end = now;
    profile
}
