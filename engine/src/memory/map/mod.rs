//! What lies where when: a rank's step, played on an allocator.

mod planned;
mod play;
#[cfg(test)]
mod tests;

use serde::Serialize;

use super::allocators::{Bump, Caching, Held};
use super::{Course, ValueId, reservation};
use crate::scenario::AllocatorName;
use crate::units::Bytes;

/// A value at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Block {
    /// Which value of the course.
    pub value: ValueId,
    /// Where it begins.
    pub address: u64,
    /// Its bytes.
    pub bytes: Bytes,
    /// The op before which it begins to lie there.
    pub from: usize,
    /// The op before which it no longer does.
    pub until: usize,
}

/// Addresses that an allocator held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Region {
    /// Where they begin.
    pub address: u64,
    /// How many.
    pub bytes: Bytes,
    /// The op before which they were taken.
    pub from: usize,
    /// The op before which they were given back.
    pub until: usize,
}

/// The request for which there was no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// In which step, from 0.
    pub step: usize,
    /// Before which op.
    pub op: usize,
    /// Which value of the course; none where all is reserved before the step.
    pub value: Option<ValueId>,
    /// Whether it is what ops need at a time, so that no paging helps.
    pub at_a_time: bool,
    /// Its bytes, or those of the reservation.
    pub asked: Bytes,
    /// What the allocator held then.
    pub held: Held,
    /// The largest piece of what it held and nobody used.
    pub largest_free: Bytes,
}

/// A step on an allocator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryMap {
    /// What lies where, of the last step that was played.
    pub blocks: Vec<Block>,
    /// What was taken from the device for it.
    pub regions: Vec<Region>,
    /// Ops of a step.
    pub ops: usize,
    /// The most that was handed out at once, as the allocator rounds it.
    pub allocated: Bytes,
    /// The most that was taken from the device.
    pub reserved: Bytes,
    /// In how many pieces, at the end.
    pub segments: u32,
    /// Calls of the device's own allocator in the first step.
    pub calls: u32,
    /// The same in every later step.
    pub later_calls: u32,
    /// Copies to the host's memory and back in a step.
    pub moves: u32,
    /// Their bytes.
    pub moved: Bytes,
    /// Where it ended, if it did not fit.
    pub failure: Option<Failure>,
}

impl MemoryMap {
    /// The first moment at which most is in use.
    pub fn peak_moment(&self) -> usize {
        most(&blocks_over_time(&self.blocks), self.ops).1
    }

    /// A map of blocks and regions that are known, with what was most of them.
    pub fn of_parts(blocks: Vec<Block>, regions: Vec<Region>, ops: usize) -> Self {
        let over_time: Vec<_> = regions.iter().map(|region| (region.from, region.until, region.bytes.0)).collect();
        let (allocated, reserved) = (most(&blocks_over_time(&blocks), ops).0, most(&over_time, ops).0);
        let segments = regions.iter().filter(|region| region.until == ops).count();
        let segments = u32::try_from(segments).unwrap_or(u32::MAX);
        finished(Self { blocks, regions, ops, allocated, reserved, segments, ..Self::default() })
    }

    /// Plays a course on an allocator of a device of some capacity; of one without a limit where none is given.
    pub fn of(course: &Course, allocator: AllocatorName, capacity: Option<Bytes>) -> Self {
        match allocator {
            AllocatorName::Caching => play::play(course, &mut Caching::new(false, capacity)),
            AllocatorName::Expandable => play::play(course, &mut Caching::new(true, capacity)),
            AllocatorName::Bump => play::play(course, &mut Bump::new(capacity)),
            AllocatorName::Offsets => planned::of_offsets(course, capacity),
            AllocatorName::BestFit => planned::of_best_fit(course, capacity),
            AllocatorName::Reservation => planned::of_plan(course, &reservation::plan(course), capacity),
            AllocatorName::Paging => planned::of_paging(course, capacity),
        }
    }
}

/// The largest sum of what is there from one moment until another, and the first moment at which it is.
fn most(there: &[(usize, usize, u64)], moments: usize) -> (Bytes, usize) {
    let mut changes = vec![(0_u64, 0_u64); moments + 1];
    for &(from, until, bytes) in there {
        let (begin, end) = (from.min(moments), until.min(moments));
        changes[begin].0 = changes[begin].0.saturating_add(bytes);
        changes[end].1 = changes[end].1.saturating_add(bytes);
    }
    let (mut now, mut most, mut at) = (0_u64, 0_u64, 0);
    for (moment, (more, less)) in changes.into_iter().enumerate() {
        // What ends before a moment is gone when it begins.
        now = now.saturating_sub(less).saturating_add(more);
        if now > most {
            (most, at) = (now, moment);
        }
    }
    (Bytes(most), at)
}

fn blocks_over_time(blocks: &[Block]) -> Vec<(usize, usize, u64)> {
    blocks.iter().map(|block| (block.from, block.until, block.bytes.0)).collect()
}

/// The most that is in use at once, whatever hands it out.
pub fn peak(course: &Course) -> Bytes {
    let size = |&value: &ValueId| course.values[value].bytes;
    let mut now: Bytes = course.values.iter().filter(|value| value.persistent).map(|value| value.bytes).sum();
    let mut most = now;
    for moment in &course.moments {
        now += moment.born.iter().map(size).sum();
        most = most.max(now);
        now -= moment.dies.iter().map(size).sum();
    }
    most
}

/// The same in the order of addresses and ops, with addresses that nobody ever held left out.
fn finished(mut map: MemoryMap) -> MemoryMap {
    map.regions.sort_unstable_by_key(|region| (region.address, region.from));
    map.blocks.sort_unstable_by_key(|block| (block.address, block.from));
    let shifts = shifts(&map.regions);
    let moved = |address: u64| {
        let before = shifts.partition_point(|&(from, _)| from <= address);
        address - before.checked_sub(1).map_or(0, |index| shifts[index].1)
    };
    map.regions.iter_mut().for_each(|region| region.address = moved(region.address));
    map.blocks.iter_mut().for_each(|block| block.address = moved(block.address));
    map
}

/// From which address on how many addresses below were never held.
fn shifts(regions: &[Region]) -> Vec<(u64, u64)> {
    let (mut end, mut unused, mut shifts) = (0, 0, Vec::new());
    for region in regions {
        if region.address > end {
            unused += region.address - end;
            shifts.push((region.address, unused));
        }
        end = end.max(region.address + region.bytes.0);
    }
    shifts
}
