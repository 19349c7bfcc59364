//! Courses whose values have their places before the step.

use std::collections::BTreeMap;

use super::{Block, Failure, MemoryMap, Region, finished, peak};
use crate::memory::allocators::{Held, Offsets};
use crate::memory::{BudgetTooSmall, Course, Plan, Spot, Step, Value, ValueId, best_fit, paging, reservation};
use crate::units::Bytes;

pub(super) fn of_offsets(course: &Course, capacity: Option<Bytes>) -> MemoryMap {
    let offsets = Offsets::plan(course);
    let ops = course.moments.len();
    let block = |(value, asked): (ValueId, &Value)| {
        let (from, until) =
            if asked.persistent { (0, ops) } else { (asked.first, (asked.last.saturating_add(1)).min(ops)) };
        Block { value, address: offsets.of[value], bytes: asked.bytes, from, until }
    };
    let reserved = Bytes(offsets.end);
    finished(MemoryMap {
        blocks: course.values.iter().enumerate().map(block).collect(),
        regions: vec![Region { address: 0, bytes: reserved, from: 0, until: ops }],
        ops,
        allocated: peak(course),
        reserved,
        segments: 1,
        calls: 1,
        failure: too_large(reserved, capacity),
        ..MemoryMap::default()
    })
}

/// A reservation that is made before the step and has no room.
fn too_large(reserved: Bytes, capacity: Option<Bytes>) -> Option<Failure> {
    let (held, largest_free) = (Held::default(), Bytes::ZERO);
    let failure = Failure { step: 0, op: 0, value: None, at_a_time: false, asked: reserved, held, largest_free };
    capacity.is_some_and(|capacity| reserved > capacity).then_some(failure)
}

pub(super) fn of_paging(course: &Course, capacity: Option<Bytes>) -> MemoryMap {
    let all = reservation::plan(course);
    let budget = capacity.unwrap_or_else(|| all.reserved());
    match paging::plan(course, Some(budget)) {
        Ok(plan) => of_plan(course, &plan, capacity),
        // Not even what ops need at a time fits.
        Err(BudgetTooSmall { needed, .. }) => {
            let map = of_plan(course, &all, capacity);
            let failure = map.failure.map(|failure| Failure { asked: needed, at_a_time: true, ..failure });
            MemoryMap { failure, ..map }
        }
    }
}

/// What a plan of whole buffers puts where.
pub(super) fn of_plan(course: &Course, plan: &Plan, capacity: Option<Bytes>) -> MemoryMap {
    let starts: Vec<u64> = plan
        .buffers
        .iter()
        .scan(0, |end, bytes| {
            *end += bytes.0;
            Some(*end - bytes.0)
        })
        .collect();
    let mut follower = Follower {
        course,
        starts: &starts,
        alive: BTreeMap::new(),
        blocks: Vec::new(),
        now: Bytes::ZERO,
        most: Bytes::ZERO,
    };
    for (value, home) in plan.homes.iter().enumerate() {
        if let Spot::Device(buffer) = *home {
            follower.put(value, buffer, 0);
        }
    }
    for (op, step) in plan.steps.iter().enumerate() {
        follower.step(step, op);
        course.moments[op].dies.iter().for_each(|&value| follower.take(value, op + 1));
    }
    let ops = course.moments.len();
    for value in follower.alive.keys().copied().collect::<Vec<_>>() {
        follower.take(value, ops);
    }
    let moves = plan.steps.iter().chain([&plan.last]).map(|step| step.moves.len()).sum::<usize>();
    let regions =
        plan.buffers.iter().zip(&starts).map(|(&bytes, &address)| Region { address, bytes, from: 0, until: ops });
    let buffers = u32::try_from(plan.buffers.len()).unwrap_or(u32::MAX);
    finished(MemoryMap {
        regions: regions.collect(),
        ops,
        allocated: follower.most,
        reserved: plan.reserved(),
        segments: buffers,
        calls: buffers,
        moves: u32::try_from(moves).unwrap_or(u32::MAX),
        moved: plan.moved(course),
        blocks: follower.blocks,
        failure: too_large(plan.reserved(), capacity),
        ..MemoryMap::default()
    })
}

/// The same of buffers that are made as they are needed: the map ends where there is no room for one more.
pub(super) fn of_best_fit(course: &Course, capacity: Option<Bytes>) -> MemoryMap {
    let whole = of_plan(course, &best_fit::plan(course), None);
    let Some(found) = capacity.and_then(|capacity| best_fit::without_room(course, capacity)) else { return whole };
    let best_fit::NoRoom { op, value, allocated, reserved, buffers, largest_free } = found;
    let segments = u32::try_from(buffers).unwrap_or(u32::MAX);
    let held = Held { allocated, reserved, segments, calls: segments };
    let asked = course.values[value].bytes;
    let failure = Failure { step: 0, op, value: Some(value), at_a_time: false, asked, held, largest_free };
    let end = op + 1;
    let blocks = whole.blocks.into_iter().filter(|block| block.from < end && block.value < value);
    let blocks = blocks.map(|block| Block { until: block.until.min(end), ..block }).collect();
    // Values are numbered, and buffers lie, in the order in which they are made.
    let regions = whole.regions.into_iter().take(buffers).map(|region| Region { until: end, ..region }).collect();
    MemoryMap { blocks, regions, failure: Some(failure), reserved, allocated, segments, calls: segments, ..whole }
}

/// Follows a plan.
struct Follower<'a> {
    course: &'a Course,
    starts: &'a [u64],
    alive: BTreeMap<ValueId, (u64, usize)>,
    blocks: Vec<Block>,
    now: Bytes,
    most: Bytes,
}

impl Follower<'_> {
    fn step(&mut self, step: &Step, op: usize) {
        step.dropped.iter().for_each(|&value| self.take(value, op));
        for movement in &step.moves {
            match movement.to {
                Spot::Device(buffer) => self.put(movement.value, buffer, op),
                Spot::Away(_) => self.take(movement.value, op),
            }
        }
        step.born.iter().for_each(|&(value, buffer)| self.put(value, buffer, op));
        self.most = self.most.max(self.now);
    }

    fn put(&mut self, value: ValueId, buffer: usize, op: usize) {
        if self.alive.insert(value, (self.starts[buffer], op)).is_none() {
            self.now += self.course.values[value].bytes;
        }
    }

    fn take(&mut self, value: ValueId, op: usize) {
        if let Some((address, from)) = self.alive.remove(&value) {
            let bytes = self.course.values[value].bytes;
            self.now -= bytes;
            if op > from {
                self.blocks.push(Block { value, address, bytes, from, until: op });
            }
        }
    }
}
