//! Which policy and how many bytes: misses of every policy over the capacity, and what the chosen cache finds over time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::input::{Feed, InputReport, input_report};
use crate::scenario::{Cache, CachePlacement, CachePolicy, WarmUp};
use crate::sim::cache::{CurvePoint, FleetRun, Requests, Sampled, capacities, replay_fleet, sampled};
use crate::trace::Origin;
use crate::units::Bytes;

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StudyOptions {
    /// Policies.
    pub policies: Vec<CachePolicy>,
    /// How many capacities, or these.
    pub capacities: Capacities,
    /// Of how many objects one is played, a power of two; as many as `played` asks for when left out.
    pub one_in: Option<u32>,
    /// Requests that are played over all points before a part of the objects stands for all of them.
    pub played: u64,
    /// Parts of the run of the chosen cache.
    pub parts: usize,
}

/// Bytes of the caches that are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capacities {
    /// So many, up to all objects.
    Count(u32),
    /// These.
    These(Vec<Bytes>),
}

impl Default for StudyOptions {
    fn default() -> Self {
        Self {
            policies: CachePolicy::ALL.to_vec(),
            capacities: Capacities::Count(20),
            one_in: None,
            played: PLAYED,
            parts: 60,
        }
    }
}

/// Requests that are played at first: some seconds on two cores.
pub const PLAYED: u64 = 400_000_000;

/// Objects that a sample has at least.
const FEWEST: usize = 20_000;

/// A comparison that is not played yet: each point stands for itself, so they can be found in any order.
#[derive(Debug)]
pub struct CacheStudy {
    whole: Arc<Requests>,
    /// The trace, or what stands for it where it is very long.
    long: Sampled,
    /// What stands for it where it is played again and again.
    probe: Sampled,
    sampled: Sampled,
    cache: Cache,
    nodes: u32,
    plan: Vec<Cache>,
    options: StudyOptions,
    origin: Origin,
    feed: Option<Feed>,
}

/// The curve of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyCurve {
    /// Which.
    pub policy: CachePolicy,
    /// What it finds, by capacity.
    pub points: Vec<CurvePoint>,
}

/// What a comparison found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CacheReport {
    /// Whether the requests were made up or come from a file; what caches find of them is modelled.
    pub origin: Origin,
    /// Requests, objects, and the bytes of all objects.
    pub requests: u64,
    /// Objects.
    pub objects: u64,
    /// Bytes of all objects together.
    pub object_bytes: Bytes,
    /// Bytes of all requests together.
    pub request_bytes: Bytes,
    /// Of how many objects one was played for the curves.
    pub one_in: u32,
    /// The same for the chosen cache.
    pub run_one_in: u32,
    /// Nodes that read.
    pub nodes: u32,
    /// The chosen cache.
    pub cache: Cache,
    /// What the caches of all nodes found.
    pub run: FleetRun,
    /// Misses of one cache over its capacity, by policy.
    pub curves: Vec<PolicyCurve>,
    /// What a step waits for samples, where what is read are the samples of a scenario.
    pub input: Option<InputReport>,
}

impl CacheReport {
    /// About so many points of a curve, evenly, with the first and the last: their places.
    pub fn some_points(&self, count: usize) -> Vec<usize> {
        let last = self.curves.first().map_or(0, |curve| curve.points.len().saturating_sub(1));
        let mut some: Vec<usize> = (0..count).map(|n| n * last / (count - 1).max(1)).collect();
        some.dedup();
        some
    }
}

/// The cache to play a trace through: what a scenario says of bytes is said of its own objects, so a trace from a file gets
/// a third of its own, as does who says nothing.
pub fn suited(known: Option<Cache>, requests: &Requests, nodes: u32, origin: Origin) -> Cache {
    let third = Bytes((requests.sizes.total().0 / 3).max(1));
    let known = known.unwrap_or_else(|| Cache::with_capacity(third));
    let capacity = if origin == Origin::Imported { third } else { known.capacity };
    Cache { capacity, replicas: known.replicas.min(nodes), ..known }
}

impl CacheStudy {
    /// Prepares the comparison of caches for a trace.
    pub fn new(whole: Arc<Requests>, cache: Cache, nodes: u32, origin: Origin, options: StudyOptions) -> Self {
        let bytes = match &options.capacities {
            Capacities::Count(count) => capacities(whole.sizes.total(), *count),
            Capacities::These(bytes) => bytes.clone(),
        };
        let alone = Cache { placement: CachePlacement::Node, lost_after: None, warm_up: WarmUp::None, ..cache };
        let of_policy = |&policy: &CachePolicy| bytes.iter().map(move |&capacity| Cache { policy, capacity, ..alone });
        let plan: Vec<Cache> = options.policies.iter().flat_map(of_policy).collect();
        let one_in = options.one_in.unwrap_or_else(|| thinning(&whole, plan.len(), options.played));
        // A page has to stay alive while these are played.
        let (long, short) = ((options.played / 10).max(1), (options.played / 200).max(1));
        let tables = (whole.sizes.objects() as u64).saturating_mul(u64::from(nodes)).div_ceil(ENTRIES);
        let sampled_in = |played: u64| {
            let one_in = options.one_in.unwrap_or_else(|| thinning(&whole, 1, played).max(spread(tables)));
            sampled(&whole, one_in)
        };
        let (long, probe, sampled) = (sampled_in(long), sampled_in(short), sampled(&whole, one_in));
        Self { whole, long, probe, sampled, cache, nodes, plan, options, origin, feed: None }
    }

    /// With a step that takes what is read.
    #[must_use]
    pub fn feeding(self, feed: Option<Feed>) -> Self {
        Self { feed, ..self }
    }

    /// What the caches of all nodes find with so many bytes each.
    fn run(&self, of: &Sampled, capacity: Bytes) -> FleetRun {
        let capacity = Bytes((capacity.0 / u64::from(of.one_in)).max(1));
        let cache = Cache { capacity, ..self.cache };
        replay_fleet(&of.requests, &cache, self.nodes, self.options.parts).times(of.one_in)
    }

    /// Points of all curves.
    pub fn points(&self) -> usize {
        self.plan.len()
    }

    /// One of them.
    pub fn point(&self, number: usize) -> CurvePoint {
        self.sampled.point(&self.plan[number])
    }

    /// All of them, found on some threads; none when `progress`, which gets the share that is done, says to stop.
    pub fn on_threads(&self, threads: usize, progress: &(dyn Fn(f32) -> bool + Sync)) -> Option<Vec<CurvePoint>> {
        let (next, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
        let found: Mutex<Vec<(usize, CurvePoint)>> = Mutex::default();
        let work = || {
            while !stopped.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= self.points() {
                    break;
                }
                let point = self.point(number);
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                found.push((number, point));
                if !progress(found.len() as f32 / self.points() as f32) {
                    stopped.store(true, Ordering::Relaxed);
                }
            }
        };
        std::thread::scope(|scope| {
            (1..threads.clamp(1, self.points().max(1))).for_each(|_| {
                scope.spawn(work);
            });
            work();
        });
        let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.sort_by_key(|(number, _)| *number);
        (found.len() == self.points()).then(|| found.into_iter().map(|(_, point)| point).collect())
    }

    /// Plays the chosen cache, and puts all together.
    pub fn finish(&self, points: &[CurvePoint]) -> CacheReport {
        let of_policy = (points.len() / self.options.policies.len().max(1)).max(1);
        let (run, all) = (self.run(&self.long, self.cache.capacity), self.whole.sizes.total());
        let input = self.feed.map(|feed| input_report(feed, &run, all, |capacity| self.run(&self.probe, capacity)));
        let curve = |(&policy, points): (&CachePolicy, &[CurvePoint])| PolicyCurve { policy, points: points.to_vec() };
        CacheReport {
            origin: self.origin,
            requests: self.whole.objects.len() as u64,
            objects: self.whole.sizes.objects() as u64,
            object_bytes: all,
            request_bytes: self.whole.bytes(),
            one_in: self.sampled.one_in,
            run_one_in: self.long.one_in,
            nodes: self.nodes,
            cache: self.cache,
            run,
            input,
            curves: self.options.policies.iter().zip(points.chunks(of_policy)).map(curve).collect(),
        }
    }
}

/// Tables of objects at all nodes, in entries, at most.
const ENTRIES: u64 = 200_000_000;

/// The power of two that is at least so large.
fn spread(wanted: u64) -> u32 {
    u32::try_from(wanted.min(1 << 30)).unwrap_or(1).next_power_of_two()
}

/// Of how many objects one is enough, so that all points together play no more than `played` requests.
fn thinning(requests: &Requests, points: usize, played: u64) -> u32 {
    let all = requests.objects.len() as u64 * points as u64;
    let wanted = spread(all.div_ceil(played.max(1)));
    let possible = u32::try_from(requests.sizes.objects() / FEWEST).unwrap_or(u32::MAX);
    // The largest power of two that leaves enough objects.
    wanted.min(1 << possible.max(1).ilog2())
}
