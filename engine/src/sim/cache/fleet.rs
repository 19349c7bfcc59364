//! Caches of several nodes: each for itself, or one cache in parts by consistent hashing.

use serde::Serialize;

use super::replay::{Front, Hits, WithPolicy, with_policy};
use super::ring::Ring;
use super::{Eviction, ObjectId, Requests};
use crate::scenario::{Cache, CachePlacement, WarmUp};
use crate::units::Bytes;

/// Where a read found its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// In the cache of the node that reads.
    Local,
    /// In the cache of another node.
    Remote,
    /// In the storage behind the caches.
    Storage,
}

impl Tier {
    /// All of them, the nearest first.
    pub const ALL: [Self; 3] = [Self::Local, Self::Remote, Self::Storage];

    /// The name in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
            Self::Storage => "storage",
        }
    }
}

/// Reads by where they found their object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ByTier {
    /// Reads, in the order of [`Tier::ALL`].
    pub requests: [u64; 3],
    /// Their bytes.
    pub bytes: [Bytes; 3],
}

impl ByTier {
    fn add(&mut self, tier: Tier, size: Bytes) {
        self.requests[tier as usize] += 1;
        self.bytes[tier as usize] += size;
    }

    /// What the caches of all nodes found together.
    pub fn hits(&self) -> Hits {
        let missed = Tier::Storage as usize;
        let (requests, bytes) = (self.requests.iter().sum(), self.bytes.iter().copied().sum::<Bytes>());
        Hits { requests, hits: requests - self.requests[missed], bytes, hit_bytes: bytes - self.bytes[missed] }
    }
}

impl std::ops::AddAssign for ByTier {
    fn add_assign(&mut self, other: Self) {
        for tier in 0..3 {
            self.requests[tier] += other.requests[tier];
            self.bytes[tier] += other.bytes[tier];
        }
    }
}

/// A part of a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TierInterval {
    /// The number of its first request.
    pub from: u64,
    /// Where its reads found their objects.
    pub reads: ByTier,
}

/// What the caches of all nodes made of a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FleetRun {
    /// The whole trace.
    pub total: ByTier,
    /// Its parts, of equally many requests.
    pub intervals: Vec<TierInterval>,
    /// Bytes that were read before the first request, by all nodes.
    pub warmed: Bytes,
    /// Bytes that were read ahead.
    pub ahead: Bytes,
}

impl FleetRun {
    fn new(requests: &Requests, parts: usize) -> (Self, usize) {
        let length = requests.objects.len().div_ceil(parts.max(1)).max(1);
        let parts = requests.objects.len().div_ceil(length);
        let interval = |part: usize| TierInterval { from: (part * length) as u64, reads: ByTier::default() };
        (Self { intervals: (0..parts).map(interval).collect(), ..Self::default() }, length)
    }
}

/// Plays a trace through the caches of `nodes` nodes, in as many parts.
pub fn replay_fleet(requests: &Requests, cache: &Cache, nodes: u32, parts: usize) -> FleetRun {
    match cache.placement {
        CachePlacement::Node => alone(requests, cache, nodes, parts),
        CachePlacement::Partitioned | CachePlacement::TwoLevel => together(requests, cache, nodes, parts),
    }
}

/// The request behind which a cache is lost.
fn lost_at(requests: &Requests, cache: &Cache) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the requests")]
    cache.lost_after.map_or(usize::MAX, |share| (share * requests.objects.len() as f64) as usize)
}

/// Every node reads into a cache of its own.
fn alone(requests: &Requests, cache: &Cache, nodes: u32, parts: usize) -> FleetRun {
    let (mut run, length) = FleetRun::new(requests, parts);
    for node in 0..nodes {
        let is_own = |&number: &usize| u32::from(requests.reader(number)) % nodes == node;
        let own: Vec<usize> = (0..requests.objects.len()).filter(is_own).collect();
        let lost = if node == 0 { own.partition_point(|&number| number < lost_at(requests, cache)) } else { own.len() };
        for (own, warm) in [(&own[..lost], true), (&own[lost..], false)] {
            let objects = own.iter().map(|&number| requests.objects[number]).collect();
            let part = Requests { objects, sizes: requests.sizes.clone(), readers: Vec::new() };
            let found = with_policy(cache.policy, cache.capacity, &part, Alone { requests: &part, cache, warm });
            run.warmed += found.warmed;
            run.ahead += found.ahead;
            for ((&number, &object), hit) in own.iter().zip(&part.objects).zip(found.hits) {
                let tier = if hit { Tier::Local } else { Tier::Storage };
                run.intervals[number / length].reads.add(tier, requests.sizes.of(object));
            }
        }
    }
    run.intervals.iter().for_each(|interval| run.total += interval.reads);
    run
}

struct Alone<'a> {
    requests: &'a Requests,
    cache: &'a Cache,
    warm: bool,
}

/// What one cache found, request by request.
struct Found {
    hits: Vec<bool>,
    warmed: Bytes,
    ahead: Bytes,
}

impl<'a> WithPolicy<'a> for Alone<'a> {
    type Output = Found;

    fn with(self, cache: impl Eviction + 'a) -> Found {
        let mut front = Front::new(self.cache, self.requests, cache);
        let warmed = if self.warm { front.warm_up(self.cache.warm_up, |_| true) } else { Bytes::ZERO };
        let hits = self.requests.objects.iter().map(|&object| front.request(object)).collect();
        Found { hits, warmed, ahead: front.ahead }
    }
}

type Shelf<'a> = Front<'a, Box<dyn Eviction + 'a>>;

/// An empty cache of a policy that is chosen when the program runs.
fn shelf<'a>(requests: &'a Requests, settings: &Cache, capacity: Bytes) -> Shelf<'a> {
    struct Boxed;
    impl<'a> WithPolicy<'a> for Boxed {
        type Output = Box<dyn Eviction + 'a>;

        fn with(self, cache: impl Eviction + 'a) -> Self::Output {
            Box::new(cache)
        }
    }
    let settings = Cache { capacity, ..*settings };
    Front::new(&settings, requests, with_policy(settings.policy, capacity, requests, Boxed))
}

/// The caches of nodes that read from each other.
struct Fleet<'a> {
    /// What a node keeps for itself, where it does.
    own: Vec<Shelf<'a>>,
    /// What it keeps for all.
    shared: Vec<Shelf<'a>>,
    ring: Ring,
    /// Of every object, the nodes that keep it.
    owners: Vec<u16>,
    /// How many these are.
    replicas: usize,
}

/// The part of a node's bytes that is its own, where there are two levels.
const OWN: u64 = 10;

fn together(requests: &Requests, cache: &Cache, nodes: u32, parts: usize) -> FleetRun {
    let (mut run, length) = FleetRun::new(requests, parts);
    let mut fleet = Fleet::new(requests, cache, nodes);
    run.warmed = fleet.warm_up(cache.warm_up);
    let lost = lost_at(requests, cache);
    for (number, &object) in requests.objects.iter().enumerate() {
        if number == lost {
            fleet.lose_first(requests, cache);
        }
        let tier = fleet.read(object, u32::from(requests.reader(number)) % nodes);
        run.intervals[number / length].reads.add(tier, requests.sizes.of(object));
    }
    run.intervals.iter().for_each(|interval| run.total += interval.reads);
    run.ahead = fleet.own.iter().chain(&fleet.shared).map(|shelf| shelf.ahead).sum();
    run
}

impl<'a> Fleet<'a> {
    fn new(requests: &'a Requests, cache: &Cache, nodes: u32) -> Self {
        let two = cache.placement == CachePlacement::TwoLevel;
        let first = Bytes(if two { cache.capacity.0 / OWN } else { 0 });
        let shelves = |count: u32, bytes: Bytes| (0..count).map(|_| shelf(requests, cache, bytes)).collect();
        let (ring, replicas) = (Ring::new(nodes), cache.replicas.min(nodes) as usize);
        Self {
            own: shelves(if two { nodes } else { 0 }, first),
            shared: shelves(nodes, cache.capacity - first),
            owners: ring.owners(requests.sizes.objects(), replicas),
            ring,
            replicas,
        }
    }

    fn warm_up(&mut self, warm_up: WarmUp) -> Bytes {
        let (owners, replicas) = (&self.owners, self.replicas);
        let of_node = |(shelf, node): (&mut Shelf<'_>, u16)| {
            shelf.warm_up(warm_up, |object| owners_of(owners, replicas, object).contains(&node))
        };
        self.shared.iter_mut().zip(0..).map(of_node).sum()
    }

    /// The first node's caches are lost, and it owns nothing any more.
    fn lose_first(&mut self, requests: &'a Requests, cache: &Cache) {
        if let Some(own) = self.own.first_mut() {
            *own = shelf(requests, cache, Bytes(cache.capacity.0 / OWN));
        }
        self.ring.remove(0);
        self.replicas = self.replicas.min(self.ring.nodes());
        self.owners = self.ring.owners(requests.sizes.objects(), self.replicas);
    }

    fn read(&mut self, object: ObjectId, node: u32) -> Tier {
        if self.own.get_mut(node as usize).is_some_and(|own| own.request(object)) {
            return Tier::Local;
        }
        let owners = owners_of(&self.owners, self.replicas, object);
        let shared = &mut self.shared;
        let mut holders = owners.iter().copied().filter(|&owner| shared[usize::from(owner)].contains(object));
        let holder = holders.clone().find(|&owner| u32::from(owner) == node).or_else(|| holders.next());
        for &owner in owners.iter().filter(|&&owner| holder.is_none_or(|holder| holder == owner)) {
            shared[usize::from(owner)].request(object);
        }
        match holder {
            Some(holder) if u32::from(holder) == node => Tier::Local,
            Some(_) => Tier::Remote,
            None => Tier::Storage,
        }
    }
}

/// The nodes that keep an object.
fn owners_of(owners: &[u16], replicas: usize, object: ObjectId) -> &[u16] {
    &owners[object.index() * replicas..][..replicas]
}
