//! Reuse by best fit: a freed buffer is handed out again where it fits.

use std::collections::BTreeMap;

use super::course::{Course, Value};
use super::plan::{Plan, Spot, Step};
use super::{PoolStatistics, Usage};
use crate::exec::BufferId;
use crate::trace::MemoryCategory;
use crate::units::Bytes;

/// What the policy makes of a course.
pub fn plan(course: &Course) -> Plan {
    let (mut pool, mut plan) = (Pool::default(), Plan::default());
    let mut of = vec![BufferId(0); course.values.len()];
    for value in (0..course.values.len()).take_while(|&value| course.values[value].persistent) {
        of[value] = give(&mut pool, &mut plan.buffers, course.values[value]);
        plan.homes.push(Spot::Device(of[value].0 as usize));
    }
    for moment in &course.moments {
        for &value in &moment.born {
            of[value] = give(&mut pool, &mut plan.buffers, course.values[value]);
        }
        let born = moment.born.iter().map(|&value| (value, of[value].0 as usize)).collect();
        plan.steps.push(Step { born, reserved: pool.reserved, ..Step::default() });
        moment.dies.iter().for_each(|&value| pool.free(of[value]));
    }
    plan
}

/// A buffer of the pool for a value, as an index into the plan's.
fn give(pool: &mut Pool, buffers: &mut Vec<Bytes>, value: Value) -> BufferId {
    pool.allocate(value.bytes, value.category, |bytes| {
        buffers.push(bytes);
        BufferId(u32::try_from(buffers.len() - 1).unwrap_or(u32::MAX))
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
#[derive(Clone, Debug, Default)]
pub struct Pool {
    free: BTreeMap<(Bytes, BufferId), ()>,
    leases: BTreeMap<BufferId, Lease>,
    usage: Usage,
    reserved: Bytes,
}

impl Pool {
    /// A buffer of at least `bytes`; `create` makes a new one if no free one fits without wasting half of it.
    pub fn allocate(
        &mut self,
        bytes: Bytes,
        category: MemoryCategory,
        create: impl FnOnce(Bytes) -> BufferId,
    ) -> BufferId {
        let fitting = (bytes, BufferId(0))..=(bytes * 2, BufferId(u32::MAX));
        let found = self.free.range(fitting).next().map(|(&key, ())| key);
        let (size, buffer) = match found {
            Some(key) => {
                self.free.remove(&key);
                key
            }
            None => {
                self.reserved += bytes;
                (bytes, create(bytes))
            }
        };
        self.leases.insert(buffer, Lease { size, requested: bytes, category });
        self.usage.add(category, bytes);
        self.usage.note();
        buffer
    }

    /// Takes a buffer back. What was not handed out by this pool is left alone.
    pub fn free(&mut self, buffer: BufferId) {
        if let Some(lease) = self.leases.remove(&buffer) {
            self.usage.remove(lease.category, lease.requested);
            self.free.insert((lease.size, buffer), ());
        }
    }

    /// What it has handed out so far.
    pub fn statistics(&self) -> PoolStatistics {
        PoolStatistics { usage: self.usage, reserved: self.reserved, ..PoolStatistics::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_buffers_are_handed_out_again_and_peaks_are_kept() {
        let mut pool = Pool::default();
        let mut created = 0;
        let mut allocate = |pool: &mut Pool, bytes| {
            pool.allocate(Bytes(bytes), MemoryCategory::Buffers, |_| {
                created += 1;
                BufferId(created)
            })
        };
        let a = allocate(&mut pool, 1024);
        pool.free(a);
        assert_eq!(allocate(&mut pool, 768), a, "fits without wasting half");
        let b = allocate(&mut pool, 256);
        assert_ne!(a, b);
        pool.free(a);
        pool.free(b);
        let statistics = pool.statistics();
        assert_eq!(statistics.usage.live.total(), Bytes::ZERO);
        assert_eq!(statistics.usage.at_peak.total(), Bytes(1024));
        assert_eq!(statistics.reserved, Bytes(1280));
    }
}
