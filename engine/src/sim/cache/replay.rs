//! Plays a trace through one cache and counts what it had.

use serde::Serialize;

use super::arc::Arc;
use super::belady::Belady;
use super::clock::Clock;
use super::fifo::Fifo;
use super::lfu::Lfu;
use super::lirs::Lirs;
use super::lru::Lru;
use super::pinned::Pinned;
use super::random::Random;
use super::s3_fifo::S3Fifo;
use super::sieve::Sieve;
use super::two_q::TwoQ;
use super::w_tiny_lfu::WTinyLfu;
use super::{Eviction, ObjectId, Requests, Sizes};
use crate::scenario::{Admission, Cache, CachePolicy, WarmUp};
use crate::units::Bytes;

/// What was asked for, and what of it was there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Hits {
    /// Requests.
    pub requests: u64,
    /// Of them those that found the object.
    pub hits: u64,
    /// Bytes of all requests.
    pub bytes: Bytes,
    /// Bytes of those that found the object.
    pub hit_bytes: Bytes,
}

impl Hits {
    /// Hits over requests; 0 where there are none.
    pub fn rate(&self) -> f64 {
        self.hits as f64 / (self.requests as f64).max(1.0)
    }

    /// Hit bytes over bytes; 0 where there are none.
    pub fn byte_rate(&self) -> f64 {
        self.hit_bytes.as_f64() / self.bytes.as_f64().max(1.0)
    }

    /// Bytes that were not there.
    pub fn missed_bytes(&self) -> Bytes {
        self.bytes - self.hit_bytes
    }

    fn add(&mut self, hit: bool, size: Bytes) {
        self.requests += 1;
        self.bytes += size;
        if hit {
            self.hits += 1;
            self.hit_bytes += size;
        }
    }
}

impl std::ops::AddAssign for Hits {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.hits += other.hits;
        self.bytes += other.bytes;
        self.hit_bytes += other.hit_bytes;
    }
}

/// A part of a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Interval {
    /// The number of its first request.
    pub from: u64,
    /// What it found.
    pub hits: Hits,
}

/// What a cache made of a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CacheRun {
    /// The whole trace.
    pub total: Hits,
    /// Its parts, of equally many requests.
    pub intervals: Vec<Interval>,
    /// Bytes that were read before the first request.
    pub warmed: Bytes,
    /// Bytes that were read ahead.
    pub ahead: Bytes,
    /// Bytes that the policy itself needs.
    pub overhead: Bytes,
}

/// Something done with a cache whose policy is chosen when the program runs.
pub(super) trait WithPolicy<'a> {
    /// What it gives.
    type Output;

    /// Does it.
    fn with(self, cache: impl Eviction + 'a) -> Self::Output;
}

/// What is read, and how large it is.
pub(super) type Reads<'a> = (&'a [ObjectId], &'a Sizes);

/// Does something with an empty cache. Each policy has code of its own, so that a request costs no indirect call.
pub(super) fn with_policy<'a, W: WithPolicy<'a>>(
    policy: CachePolicy,
    capacity: Bytes,
    (objects, sizes): Reads<'a>,
    action: W,
) -> W::Output {
    let capacity = capacity.0;
    match policy {
        CachePolicy::Fifo => action.with(Fifo::new(sizes, capacity)),
        CachePolicy::Lru => action.with(Lru::new(sizes, capacity)),
        CachePolicy::Lfu => action.with(Lfu::new(sizes, capacity)),
        CachePolicy::Clock => action.with(Clock::new(sizes, capacity)),
        CachePolicy::TwoQ => action.with(TwoQ::new(sizes, capacity)),
        CachePolicy::Arc => action.with(Arc::new(sizes, capacity)),
        CachePolicy::Lirs => action.with(Lirs::new(sizes, capacity)),
        CachePolicy::S3Fifo => action.with(S3Fifo::new(sizes, capacity)),
        CachePolicy::Sieve => action.with(Sieve::new(sizes, capacity)),
        CachePolicy::WTinyLfu => action.with(WTinyLfu::new(sizes, capacity)),
        CachePolicy::Pinned => action.with(Pinned::new(sizes, capacity)),
        CachePolicy::Random => action.with(Random::new(sizes, capacity, SEED)),
        CachePolicy::Belady => action.with(Belady::new(sizes, capacity, objects)),
    }
}

/// What random replacement draws from.
const SEED: u64 = 0x5ca1_ab1e;

/// Plays a trace through a cache, in as many parts.
pub fn replay(requests: &Requests, cache: &Cache, parts: usize) -> CacheRun {
    with_policy(cache.policy, cache.capacity, requests.reads(), Replay { requests, cache, parts })
}

struct Replay<'a> {
    requests: &'a Requests,
    cache: &'a Cache,
    parts: usize,
}

impl<'a> WithPolicy<'a> for Replay<'a> {
    type Output = CacheRun;

    fn with(self, cache: impl Eviction + 'a) -> CacheRun {
        let Self { requests, parts, .. } = self;
        let mut front = Front::new(self.cache, requests.reads(), cache);
        let warmed = front.warm_up(self.cache.warm_up);
        let length = requests.objects.len().div_ceil(parts.max(1)).max(1);
        let mut run = CacheRun { warmed, ..CacheRun::default() };
        for (part, objects) in requests.objects.chunks(length).enumerate() {
            let mut hits = Hits::default();
            for &object in objects {
                hits.add(front.request(object), requests.sizes.of(object));
            }
            run.total += hits;
            run.intervals.push(Interval { from: (part * length) as u64, hits });
        }
        run.ahead = front.ahead;
        run.overhead = Bytes(front.cache.memory() as u64);
        run
    }
}

/// A cache with what stands before it: admission, reading ahead.
pub(super) struct Front<'a, E> {
    cache: E,
    objects: &'a [ObjectId],
    sizes: &'a Sizes,
    capacity: Bytes,
    admission: Admission,
    /// The largest size that comes in.
    largest: Bytes,
    /// Whether an object was read before, where that matters.
    seen: Vec<bool>,
    read_ahead: u32,
    /// Bytes that were read ahead.
    pub(super) ahead: Bytes,
}

impl<'a, E: Eviction> Front<'a, E> {
    pub(super) fn new(settings: &Cache, (objects, sizes): Reads<'a>, cache: E) -> Self {
        let mean = sizes.total().0.div_ceil((sizes.objects() as u64).max(1));
        let below_mean = settings.admission == Admission::BelowMean;
        let largest = if below_mean { settings.capacity.min(Bytes(mean)) } else { settings.capacity };
        let asks_twice = settings.admission == Admission::SecondRequest;
        let seen = if asks_twice { vec![false; sizes.objects()] } else { Vec::new() };
        Self {
            cache,
            objects,
            sizes,
            capacity: settings.capacity,
            admission: settings.admission,
            largest,
            seen,
            read_ahead: settings.read_ahead,
            ahead: Bytes::ZERO,
        }
    }

    /// Reads an object; whether it was there.
    pub(super) fn request(&mut self, object: ObjectId) -> bool {
        self.request_of(object, |_| true)
    }

    /// The same of a cache that keeps only some objects: no others are read ahead.
    pub(super) fn request_of(&mut self, object: ObjectId, keeps: impl Fn(ObjectId) -> bool) -> bool {
        if self.cache.hit(object) {
            return true;
        }
        if self.admits(object) {
            self.cache.insert(object);
        }
        if self.read_ahead > 0 {
            self.read_on(object, keeps);
        }
        false
    }

    fn admits(&mut self, object: ObjectId) -> bool {
        if self.admission == Admission::SecondRequest && !std::mem::replace(&mut self.seen[object.index()], true) {
            return false;
        }
        self.sizes.of(object) <= self.largest
    }

    /// Reads the objects behind one that was not there.
    fn read_on(&mut self, object: ObjectId, keeps: impl Fn(ObjectId) -> bool) {
        let behind = (object.0 + 1..).take(self.read_ahead as usize).map(ObjectId);
        for next in behind.take_while(|next| next.index() < self.sizes.objects()) {
            let size = self.sizes.of(next);
            if size <= self.largest && keeps(next) && !self.cache.contains(next) {
                self.ahead += size;
                self.cache.insert(next);
            }
        }
    }

    /// Fills the cache before the first request; returns the bytes that were read for it.
    pub(super) fn warm_up(&mut self, warm_up: WarmUp) -> Bytes {
        let order = warm_up_order(warm_up, (self.objects, self.sizes));
        self.fill(order.into_iter())
    }

    /// Whether an object is there, without a trace of the question.
    pub(super) fn contains(&self, object: ObjectId) -> bool {
        self.cache.contains(object)
    }

    /// Puts objects in until the next one does not fit; returns their bytes.
    pub(super) fn fill(&mut self, objects: impl Iterator<Item = ObjectId>) -> Bytes {
        let mut filled = Bytes::ZERO;
        for object in objects {
            let size = self.sizes.of(object);
            if filled + size > self.capacity {
                break;
            }
            if size <= self.largest {
                filled += size;
                self.cache.insert(object);
            }
        }
        filled
    }
}

fn all_objects(sizes: &Sizes) -> impl Iterator<Item = ObjectId> + use<> {
    (0..).map(ObjectId).take(sizes.objects())
}

/// The objects that come into a cache before the first request, in this order.
pub(super) fn warm_up_order(warm_up: WarmUp, reads: Reads<'_>) -> Vec<ObjectId> {
    match warm_up {
        WarmUp::None => Vec::new(),
        WarmUp::Sequential => all_objects(reads.1).collect(),
        WarmUp::MostValuable => by_value(reads),
    }
}

/// Objects by how often a trace reads them for their size, the most valuable first.
fn by_value((read, sizes): Reads<'_>) -> Vec<ObjectId> {
    let mut reads = vec![0_u64; sizes.objects()];
    read.iter().for_each(|object| reads[object.index()] += 1);
    let mut objects: Vec<ObjectId> = all_objects(sizes).filter(|object| reads[object.index()] > 0).collect();
    // Cross-multiplied, so that no division rounds.
    let value =
        |object: &ObjectId, other: &ObjectId| u128::from(reads[object.index()]) * u128::from(sizes.of(*other).0);
    objects.sort_by(|a, b| value(b, a).cmp(&value(a, b)).then(a.cmp(b)));
    objects
}
