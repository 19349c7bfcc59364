//! Reuse by best fit: a freed buffer is handed out again where it fits.

use std::collections::{BTreeMap, BTreeSet};

use super::Usage;
use super::course::{Course, Value};
use super::plan::{Plan, Spot, Step};
use crate::trace::MemoryCategory;
use crate::units::Bytes;

/// What the policy makes of a course.
pub fn plan(course: &Course) -> Plan {
    let (mut pool, mut plan) = (Pool::default(), Plan::default());
    let mut of = vec![0; course.values.len()];
    for value in (0..course.values.len()).take_while(|&value| course.values[value].persistent) {
        of[value] = give(&mut pool, &mut plan.buffers, course.values[value]);
        plan.homes.push(Spot::Device(of[value]));
    }
    for moment in &course.moments {
        for &value in &moment.born {
            of[value] = give(&mut pool, &mut plan.buffers, course.values[value]);
        }
        let born = moment.born.iter().map(|&value| (value, of[value])).collect();
        plan.steps.push(Step { born, reserved: pool.reserved, ..Step::default() });
        moment.dies.iter().for_each(|&value| pool.free(of[value]));
    }
    plan
}

/// What has no room on a device of some capacity, where buffers are made as they are needed.
#[derive(Clone, Copy, Debug)]
pub struct NoRoom {
    /// Before which op.
    pub op: usize,
    /// Which value.
    pub value: usize,
    /// What was handed out by then.
    pub allocated: Bytes,
    /// In how many bytes of buffers.
    pub reserved: Bytes,
    /// In how many of them.
    pub buffers: usize,
    /// The largest that was free.
    pub largest_free: Bytes,
}

/// The first value for which there is no room.
pub fn without_room(course: &Course, capacity: Bytes) -> Option<NoRoom> {
    let (mut pool, mut buffers): (Pool<usize>, Vec<Bytes>) = (Pool::default(), Vec::new());
    let mut of = vec![0; course.values.len()];
    let lasting = (0..course.values.len()).take_while(|&value| course.values[value].persistent).map(|value| (0, value));
    let passing = course.moments.iter().enumerate().map(|(op, moment)| (op, &moment.born, &moment.dies));
    let mut give_within = |pool: &mut Pool<usize>, of: &mut [usize], op: usize, value: usize| {
        let (before, allocated, free) = (pool.reserved(), pool.usage().live.total(), pool.largest_free());
        let made = buffers.len();
        of[value] = give(pool, &mut buffers, course.values[value]);
        let full = pool.reserved() > capacity;
        full.then_some(NoRoom { op, value, allocated, reserved: before, buffers: made, largest_free: free })
    };
    for (op, value) in lasting {
        if let Some(found) = give_within(&mut pool, &mut of, op, value) {
            return Some(found);
        }
    }
    for (op, born, dies) in passing {
        for &value in born {
            if let Some(found) = give_within(&mut pool, &mut of, op, value) {
                return Some(found);
            }
        }
        dies.iter().for_each(|&value| pool.free(of[value]));
    }
    None
}

/// A buffer of the pool for a value, as an index into the plan's.
fn give(pool: &mut Pool<usize>, buffers: &mut Vec<Bytes>, value: Value) -> usize {
    pool.allocate(value.bytes, value.category, |bytes| {
        buffers.push(bytes);
        buffers.len() - 1
    })
}

/// A buffer that is handed out.
#[derive(Clone, Copy, Debug)]
struct Lease {
    size: Bytes,
    requested: Bytes,
    category: MemoryCategory,
}

/// Buffers that are handed out one by one.
///
/// A freed buffer is handed out again at once: work is recorded in the order in which the device runs it.
#[derive(Clone, Debug)]
pub struct Pool<Buffer> {
    free: BTreeMap<Bytes, BTreeSet<Buffer>>,
    leases: BTreeMap<Buffer, Lease>,
    usage: Usage,
    reserved: Bytes,
}

impl<Buffer> Default for Pool<Buffer> {
    fn default() -> Self {
        Self { free: BTreeMap::new(), leases: BTreeMap::new(), usage: Usage::default(), reserved: Bytes::ZERO }
    }
}

impl<Buffer: Copy + Ord> Pool<Buffer> {
    /// A buffer of at least `bytes`; `create` makes a new one if no free one fits without wasting half of it.
    pub fn allocate(&mut self, bytes: Bytes, category: MemoryCategory, create: impl FnOnce(Bytes) -> Buffer) -> Buffer {
        let (size, buffer) = self.take_free(bytes).unwrap_or_else(|| {
            self.reserved += bytes;
            (bytes, create(bytes))
        });
        self.leases.insert(buffer, Lease { size, requested: bytes, category });
        self.usage.add(category, bytes);
        self.usage.note();
        buffer
    }

    fn take_free(&mut self, bytes: Bytes) -> Option<(Bytes, Buffer)> {
        let (&size, buffers) = self.free.range_mut(bytes..=bytes * 2).next()?;
        let buffer = buffers.pop_first()?;
        if buffers.is_empty() {
            self.free.remove(&size);
        }
        Some((size, buffer))
    }

    /// Takes a buffer back. What was not handed out by this pool is left alone.
    pub fn free(&mut self, buffer: Buffer) {
        if let Some(lease) = self.leases.remove(&buffer) {
            self.usage.remove(lease.category, lease.requested);
            self.free.entry(lease.size).or_default().insert(buffer);
        }
    }

    /// The largest buffer that is free.
    pub fn largest_free(&self) -> Bytes {
        self.free.last_key_value().map_or(Bytes::ZERO, |(&size, _)| size)
    }

    /// What is in use, and was at most.
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Bytes of all buffers that were made.
    pub fn reserved(&self) -> Bytes {
        self.reserved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_buffers_are_handed_out_again_and_peaks_are_kept() {
        let mut pool = Pool::default();
        let mut created = 0;
        let mut allocate = |pool: &mut Pool<u32>, bytes| {
            pool.allocate(Bytes(bytes), MemoryCategory::Buffers, |_| {
                created += 1;
                created
            })
        };
        let a = allocate(&mut pool, 1024);
        pool.free(a);
        assert_eq!(allocate(&mut pool, 768), a, "fits without wasting half");
        let b = allocate(&mut pool, 256);
        assert_ne!(a, b);
        pool.free(a);
        pool.free(b);
        assert_eq!(pool.usage().live.total(), Bytes::ZERO);
        assert_eq!(pool.usage().at_peak.total(), Bytes(1024));
        assert_eq!(pool.reserved(), Bytes(1280));
    }
}
