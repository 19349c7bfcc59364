//! What the ways of handing out a device's memory make of a step: whether it fits, what breaks first, and what lies where.

use serde::Serialize;

use super::{Beside, beside::beside_tensors};
use crate::graph::passes::plan_memory::saved;
use crate::graph::{Op, StepGraph, TensorId};
use crate::memory::{Block, Course, Failure, MemoryMap, Moment, Value, fragmentation};
use crate::scenario::{AllocatorName, Scenario};
use crate::trace::{MemoryCategory, Name, Origin, Span, Trace};
use crate::units::{Bytes, BytesPerSec, Nanos};

/// What a caching allocator holds for a rank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reserved {
    /// The most that is in use at once, as tensors are rounded.
    pub allocated: Bytes,
    /// What was taken from the device for it.
    pub reserved: Bytes,
    /// In how many segments.
    pub segments: u32,
}

impl Reserved {
    /// The share of what is reserved that is unused even when most is in use.
    pub fn fragmentation(&self) -> f64 {
        fragmentation(self.allocated, self.reserved)
    }
}

/// What PyTorch's caching allocator takes from a device without limits for a rank of `stage`.
pub fn reserved(step: &StepGraph, stage: u32) -> Reserved {
    let map = MemoryMap::of(&course(step, stage), AllocatorName::Caching, None);
    Reserved { allocated: map.allocated, reserved: map.reserved, segments: map.segments }
}

fn course(step: &StepGraph, stage: u32) -> Course {
    let index = stage as usize;
    let of = |program| Course::of_first(step, index, &saved(step, program), played(step, stage));
    step.stages.get(index).map_or_else(Course::default, of)
}

/// Micro-batches that are played, at least.
const PLAYED: u32 = 16;

/// Of a stage's micro-batches those that are played: several times as many as are in flight at once. Those that follow do
/// the same with the memory that these have left.
fn played(step: &StepGraph, stage: u32) -> u32 {
    let in_flight = step.stages.get(stage as usize).map_or(0, |program| program.memory.forwards_in_flight);
    // Chunks of a stage are counted one by one, and two copies of the model have micro-batches of their own.
    let is_mirrored = step.mesh.mirrored;
    if is_mirrored { u32::MAX } else { in_flight.saturating_mul(4).max(PLAYED) }
}

/// The request for which there was no room, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Breaks {
    /// In which step, from 1: what an allocator keeps may be in the way of the second.
    pub step: usize,
    /// Before which op.
    pub op: Name,
    /// Of which micro-batch.
    pub micro_batch: Option<u32>,
    /// The tensor; none where all is reserved before the step.
    pub tensor: Option<Name>,
    /// As what it counts.
    pub category: Option<MemoryCategory>,
    /// Whether it is what ops need at a time, so that no paging helps.
    pub at_a_time: bool,
    /// Its bytes.
    pub asked: Bytes,
    /// What was handed out by then.
    pub allocated: Bytes,
    /// What was taken from the device by then.
    pub reserved: Bytes,
    /// What was reserved and unused, together.
    pub unused: Bytes,
    /// The largest piece of that.
    pub largest_free: Bytes,
}

/// A step on an allocator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AllocatorRow {
    /// Which.
    pub allocator: AllocatorName,
    /// Whether it keeps within the device.
    pub fits: bool,
    /// The most that is handed out at once, as it rounds sizes.
    pub allocated: Bytes,
    /// What it takes of the device; where it does not fit, what it would take of a larger one.
    pub reserved: Bytes,
    /// In how many pieces.
    pub segments: u32,
    /// Calls of the device's own allocator in the first step; each may wait for the device.
    pub calls: u32,
    /// The same in every later step.
    pub later_calls: u32,
    /// Copies to the host's memory and back in a step.
    pub moves: u32,
    /// Their bytes.
    pub moved: Bytes,
    /// What these copies take at the rate of the link to the host; they may run beside kernels.
    pub copying: Nanos,
    /// What breaks first, where it does not fit.
    pub breaks: Option<Breaks>,
}

impl AllocatorRow {
    /// The share of what is reserved that is unused even when most is in use.
    pub fn fragmentation(&self) -> f64 {
        fragmentation(self.allocated, self.reserved)
    }
}

/// A value of a map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MapValue {
    /// What it is called.
    pub name: Name,
    /// As what it counts; unknown of an imported one.
    pub category: Option<MemoryCategory>,
    /// The micro-batch it belongs to.
    pub micro_batch: Option<u32>,
}

/// Addresses over time, with names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryPicture {
    /// Where its figures come from.
    pub origin: Origin,
    /// What lies where when; times are numbers of moments.
    pub map: MemoryMap,
    /// What its blocks hold.
    pub values: Vec<MapValue>,
    /// What each moment is called: an op, or an event.
    pub moments: Vec<Name>,
    /// When each begins, where that is known, and when the last ends.
    pub starts: Vec<Nanos>,
}

/// The device memory of the ranks of a stage.
#[derive(Clone, Debug)]
pub struct DeviceMemory {
    /// The pipeline stage.
    pub stage: u32,
    /// Bytes of a device.
    pub capacity: Bytes,
    /// What its process holds beside tensors.
    pub beside: Beside,
    /// Of how many micro-batches the memory is played; the others repeat it.
    pub micro_batches: u32,
    /// What all tensors need when that is most: no allocator does with less, but one that moves some away.
    pub peak: Bytes,
    course: Course,
    link: BytesPerSec,
}

impl DeviceMemory {
    /// The memory of a rank of `stage`.
    pub fn of(step: &StepGraph, scenario: &Scenario, stage: u32) -> Self {
        let course = course(step, stage);
        let host = &scenario.cluster().device.host;
        Self {
            stage,
            capacity: scenario.device_memory(),
            beside: beside_tensors(step, scenario, stage),
            micro_batches: played(step, stage).min(step.micro_batches),
            peak: step.stages.get(stage as usize).map_or(Bytes::ZERO, |program| program.memory.at_peak.total()),
            course,
            link: host.bandwidth,
        }
    }

    /// What is left of the device for an allocator.
    pub fn room(&self) -> Bytes {
        Bytes(self.capacity.0.saturating_sub(self.beside.total().0))
    }

    /// The step on an allocator within the device; it ends where something has no room.
    pub fn map(&self, allocator: AllocatorName) -> MemoryMap {
        MemoryMap::of(&self.course, allocator, Some(self.room()))
    }

    /// The same with names, and with the times of a modelled step.
    pub fn picture(&self, step: &StepGraph, trace: &Trace, map: MemoryMap) -> MemoryPicture {
        let value = |value: &Value| MapValue {
            name: step.tensor(value.key.0).name.clone(),
            category: Some(value.category),
            micro_batch: value.key.1,
        };
        MemoryPicture {
            origin: Origin::Modelled,
            map,
            values: self.course.values.iter().map(value).collect(),
            moments: ops(step, self.stage).map(|(op, _)| op.name.clone()).collect(),
            starts: starts(trace, self.stage, played(step, self.stage), self.course.moments.len()),
        }
    }

    /// What an allocator makes of the step, in figures.
    pub fn row(&self, step: &StepGraph, allocator: AllocatorName) -> AllocatorRow {
        let map = self.map(allocator);
        let breaks = map.failure.map(|failure| self.breaks(step, failure));
        // Beyond its end the map knows nothing: what would be needed shows on a device that is large enough.
        let whole = if breaks.is_some() { MemoryMap::of(&self.course, allocator, None) } else { map };
        let row = figures(allocator, &whole);
        // What is moved grows with the micro-batches, of which some are played.
        let times = f64::from(step.micro_batches) / f64::from(self.micro_batches.max(1));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a multiple of a size")]
        let moved = Bytes((whole.moved.as_f64() * times) as u64);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a multiple of a count")]
        let moves = (f64::from(row.moves) * times) as u32;
        AllocatorRow { fits: breaks.is_none(), copying: moved / self.link, moved, moves, breaks, ..row }
    }

    fn breaks(&self, step: &StepGraph, failure: Failure) -> Breaks {
        let (op, micro_batch) = ops(step, self.stage)
            .nth(failure.op)
            .map_or_else(|| (Name::from("the step"), None), |(op, micro_batch)| (op.name.clone(), micro_batch));
        let value = failure.value.map(|value| &self.course.values[value]);
        Breaks {
            step: failure.step + 1,
            op,
            micro_batch,
            tensor: value.map(|value| step.tensor(value.key.0).name.clone()),
            category: value.map(|value| value.category),
            at_a_time: failure.at_a_time,
            asked: failure.asked,
            allocated: failure.held.allocated,
            reserved: failure.held.reserved,
            unused: failure.held.reserved - failure.held.allocated,
            largest_free: failure.largest_free,
        }
    }
}

/// What a picture's blocks ask for, on every allocator without a limit: what another would have made of an imported run.
pub fn replayed(picture: &MemoryPicture) -> Vec<AllocatorRow> {
    let course = picture.course();
    let played = AllocatorName::ALL.into_iter().filter(|&allocator| allocator != AllocatorName::Paging);
    played.map(|allocator| figures(allocator, &MemoryMap::of(&course, allocator, None))).collect()
}

/// A map in figures, without what takes time.
fn figures(allocator: AllocatorName, map: &MemoryMap) -> AllocatorRow {
    AllocatorRow {
        allocator,
        fits: map.failure.is_none(),
        allocated: map.allocated,
        reserved: map.reserved,
        segments: map.segments,
        calls: map.calls,
        later_calls: map.later_calls,
        moves: map.moves,
        moved: map.moved,
        copying: Nanos::ZERO,
        breaks: None,
    }
}

impl MemoryPicture {
    /// What its blocks ask for, each as a value that lives as long: what is there all the time comes first.
    pub fn course(&self) -> Course {
        let ops = self.map.ops;
        let mut course = Course { values: Vec::new(), moments: vec![Moment::default(); ops] };
        let stays = |block: &&Block| block.from == 0 && block.until >= ops;
        let (lasting, passing): (Vec<&Block>, Vec<&Block>) = self.map.blocks.iter().partition(stays);
        for block in lasting.into_iter().chain(passing) {
            let persistent = stays(&block);
            let (id, last) = (course.values.len(), block.until.saturating_sub(1));
            let category = self.values.get(block.value).and_then(|value| value.category);
            course.values.push(Value {
                key: (TensorId::new(id), (!persistent).then_some(0)),
                bytes: block.bytes,
                category: category.unwrap_or(MemoryCategory::Buffers),
                persistent,
                first: block.from,
                last: if persistent { usize::MAX } else { last },
            });
            if !persistent {
                course.moments[block.from].born.push(id);
                course.moments[last].dies.push(id);
            }
        }
        course
    }
}

/// The ops of a stage that are played, in the order of its program, with their micro-batches.
fn ops(step: &StepGraph, stage: u32) -> impl Iterator<Item = (&Op, Option<u32>)> {
    let (program, played) = (step.stages.get(stage as usize), played(step, stage));
    let tasks = program.into_iter().flat_map(|program| program.tasks.iter().map(move |&task| (program, task)));
    let tasks = tasks.filter(move |(_, task)| task.micro_batch.is_none_or(|number| number < played));
    tasks.flat_map(|(program, task)| program.segment(task).ops().map(move |op| (op, task.micro_batch)))
}

/// When each op of the first group of ranks of a stage starts, and when the step ends: memory is planned in the order of
/// the program, so no op counts as earlier than the one before.
fn starts(trace: &Trace, stage: u32, played: u32, ops: usize) -> Vec<Nanos> {
    let Some(group) = trace.group_of_stage(stage) else { return Vec::new() };
    let mut latest = Nanos::ZERO;
    let is_played = |span: &&Span| span.micro_batch == Span::NO_MICRO_BATCH || span.micro_batch < played;
    let spans = trace.spans.iter().filter(|span| trace.track(span).group == group).filter(is_played);
    let starts: Vec<Nanos> = spans
        .map(|span| {
            latest = latest.max(span.start);
            latest
        })
        .collect();
    // Executed traces have other spans than the program has ops.
    let complete = trace.origin == Origin::Modelled && starts.len() == ops;
    if complete { [starts, vec![trace.step_time]].concat() } else { Vec::new() }
}

/// Whether every stage of a step keeps within its device on an allocator, with what the fullest takes, and the longest time
/// that copies to the host and back take. Stages that need far less than the fullest are not played.
pub fn fits(step: &StepGraph, scenario: &Scenario, allocator: AllocatorName) -> (bool, Bytes, Nanos) {
    /// A stage that needs less than this share of its device fits on any allocator but `bump`.
    const SURELY: f64 = 0.8;
    let mut order: Vec<u32> = (0..u32::try_from(step.stages.len()).unwrap_or(0)).collect();
    let planned = |stage: u32| step.stages[stage as usize].memory.at_peak.total();
    order.sort_by_key(|&stage| (std::cmp::Reverse(planned(stage)), stage));
    let (mut fits, mut most, mut copying) = (true, Bytes::ZERO, Nanos::ZERO);
    for (place, &stage) in order.iter().enumerate() {
        let capacity = scenario.device_memory();
        let far_below = planned(stage).as_f64() < capacity.as_f64() * SURELY && allocator != AllocatorName::Bump;
        if place > 0 && far_below {
            continue;
        }
        let row = DeviceMemory::of(step, scenario, stage).row(step, allocator);
        fits &= row.fits;
        (most, copying) = (most.max(row.reserved), copying.max(row.copying));
    }
    (fits, most, copying)
}
