//! Caches of what training reads: samples, shards of a dataset, rows of an embedding table.
//!
//! A trace of [`Requests`] is replayed through a cache of some bytes. What leaves when there is no room is the
//! [`CachePolicy`](crate::scenario::CachePolicy)'s decision: one file each, all an [`Eviction`].
//!
//! * `entries` holds what policies remember, `sketch` and `positions` what only some of them need,
//! * `requests` is what is read, `workload` makes it from a scenario, `import` reads it from files,
//! * `replay` plays it through one cache and counts, `fleet` through the caches of many nodes,
//! * `curve` gives the misses of many capacities.
//!
//! Objects are numbered from zero and have one size for the whole trace. A cache that is asked for what it does not have
//! reads it, and then keeps it if the policy and the admission say so.

mod arc;
mod belady;
mod clock;
mod curve;
mod decisions;
mod entries;
mod fifo;
mod fleet;
mod import;
mod lfu;
mod lirs;
mod lru;
mod pinned;
mod positions;
mod random;
mod replay;
mod requests;
mod ring;
mod s3_fifo;
mod sieve;
mod sketch;
#[cfg(test)]
mod tests;
mod two_q;
mod w_tiny_lfu;
mod workload;

pub use curve::{CurvePoint, Sampled, capacities, sampled};
pub use decisions::{Decision, decisions};
pub use fleet::{ByTier, FleetRun, Served, Tier, TierInterval, replay_fleet};
pub use import::{ImportError, TraceFormat, import};
pub use replay::{CacheRun, Hits, Interval, replay};
pub use requests::{ObjectId, Requests, Sizes};
pub use workload::requests_of;

/// What a policy does: it says what is in a cache, and what leaves.
pub(crate) trait Eviction {
    /// Whether an object that is read is here; remembers that it was read. Once for every request, in their order.
    fn hit(&mut self, object: ObjectId) -> bool;

    /// Whether it is here, without a trace of the question.
    fn contains(&self, object: ObjectId) -> bool;

    /// Takes in an object that is not here, of at most the cache's capacity; what the policy says leaves for it. A
    /// policy may also leave it out.
    fn insert(&mut self, object: ObjectId);

    /// Bytes that the policy needs, beside a table of the trace's objects.
    fn memory(&self) -> usize;
}

impl<E: Eviction + ?Sized> Eviction for Box<E> {
    fn hit(&mut self, object: ObjectId) -> bool {
        (**self).hit(object)
    }

    fn contains(&self, object: ObjectId) -> bool {
        (**self).contains(object)
    }

    fn insert(&mut self, object: ObjectId) {
        (**self).insert(object);
    }

    fn memory(&self) -> usize {
        (**self).memory()
    }
}
