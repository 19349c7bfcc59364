//! Buffers of one rank: handed out by best fit, accounted for by category.

use std::collections::BTreeMap;

use super::BufferId;
use crate::trace::{MemoryCategory, MemoryUse};
use crate::units::Bytes;

/// What a pool has handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStatistics {
    /// In use now.
    pub live: MemoryUse,
    /// In use when the sum was largest, the first such moment.
    pub at_peak: MemoryUse,
    /// The largest value of each category on its own.
    pub peaks: MemoryUse,
    /// Buffers created, used or not.
    pub reserved: Bytes,
}

/// A buffer that is handed out.
#[derive(Clone, Copy, Debug)]
struct Lease {
    size: Bytes,
    requested: Bytes,
    category: MemoryCategory,
}

/// The buffers of one rank.
///
/// A freed buffer is handed out again at once: work is recorded in the order in which the device runs it.
#[derive(Debug, Default)]
pub struct Pool {
    free: BTreeMap<(Bytes, BufferId), ()>,
    leases: BTreeMap<BufferId, Lease>,
    statistics: PoolStatistics,
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
                self.statistics.reserved += bytes;
                (bytes, create(bytes))
            }
        };
        self.leases.insert(buffer, Lease { size, requested: bytes, category });
        *self.statistics.live.get_mut(category) += bytes;
        self.note_peak();
        buffer
    }

    /// Takes a buffer back. What was not handed out by this pool is left alone.
    pub fn free(&mut self, buffer: BufferId) {
        if let Some(lease) = self.leases.remove(&buffer) {
            *self.statistics.live.get_mut(lease.category) -= lease.requested;
            self.free.insert((lease.size, buffer), ());
        }
    }

    /// What it has handed out so far.
    pub fn statistics(&self) -> PoolStatistics {
        self.statistics
    }

    fn note_peak(&mut self) {
        let live = self.statistics.live;
        self.statistics.peaks.raise_to(&live);
        if live.total() > self.statistics.at_peak.total() {
            self.statistics.at_peak = live;
        }
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
        assert_eq!(statistics.live.total(), Bytes::ZERO);
        assert_eq!(statistics.at_peak.total(), Bytes(1024));
        assert_eq!(statistics.reserved, Bytes(1280));
    }
}
