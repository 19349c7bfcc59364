//! Caches of several nodes: each for itself, or one cache in parts by consistent hashing.

use serde::Serialize;

use super::replay::{Front, Hits, Reads, WithPolicy, warm_up_order, with_policy};
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
    /// In the second cache of that node, on its drives.
    Drives,
    /// In the cache of another node.
    Remote,
    /// In the storage behind the caches.
    Storage,
}

impl Tier {
    /// All of them, the nearest first.
    pub const ALL: [Self; 4] = [Self::Local, Self::Drives, Self::Remote, Self::Storage];

    /// The name in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Drives => "drives",
            Self::Remote => "remote",
            Self::Storage => "storage",
        }
    }
}

/// Reads by where they found their object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ByTier {
    /// Reads, in the order of [`Tier::ALL`].
    pub requests: [u64; 4],
    /// Their bytes.
    pub bytes: [Bytes; 4],
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
        for tier in 0..Tier::ALL.len() {
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
    /// Bytes that were read ahead.
    pub ahead: Bytes,
}

/// What tiers serve of reads.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Served {
    /// Of all reads, in the order of [`Tier::ALL`].
    pub shares: [f64; 4],
    /// Bytes of one in the mean.
    pub sizes: [Bytes; 4],
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
    /// Where reads were served from part `late` of the trace on, a share; with the mean size of what each tier served, in
    /// which what is read ahead is part of the storage's. None where there were no reads.
    pub fn served(&self, late: f64) -> Option<Served> {
        let all = self.total.hits().requests as f64;
        // The last part at least.
        let late = late.max(1.0 / (self.intervals.len() as f64).max(1.0));
        let (mut reads, mut read_ahead) = (ByTier::default(), Bytes::ZERO);
        for interval in self.intervals.iter().filter(|interval| interval.from as f64 >= (1.0 - late) * all - 1.0) {
            reads += interval.reads;
            read_ahead += interval.ahead;
        }
        let count = reads.requests.iter().sum::<u64>() as f64;
        let bytes = reads.bytes.map(Bytes::as_f64);
        let mut moved = bytes;
        moved[Tier::Storage as usize] += read_ahead.as_f64();
        let mean = |tier: usize| moved[tier] / (reads.requests[tier] as f64).max(1.0);
        (count > 0.0).then(|| Served {
            shares: reads.requests.map(|requests| requests as f64 / count),
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a mean size")]
            sizes: std::array::from_fn(|tier| Bytes(mean(tier).round() as u64)),
        })
    }

    /// The run of a trace for which this one stands, one object of so many.
    #[must_use]
    pub fn times(mut self, one_in: u32) -> Self {
        let times = u64::from(one_in);
        let more = |reads: &mut ByTier| {
            reads.requests.iter_mut().for_each(|n| *n *= times);
            reads.bytes.iter_mut().for_each(|n| n.0 *= times);
        };
        more(&mut self.total);
        for interval in &mut self.intervals {
            interval.from *= times;
            more(&mut interval.reads);
            interval.ahead.0 *= times;
        }
        (self.warmed, self.ahead) = (self.warmed * times, self.ahead * times);
        self
    }

    fn sum_up(&mut self) {
        for interval in &self.intervals {
            self.total += interval.reads;
            self.ahead += interval.ahead;
        }
    }

    fn new(requests: &Requests, parts: usize) -> (Self, usize) {
        let length = requests.objects.len().div_ceil(parts.max(1)).max(1);
        let parts = requests.objects.len().div_ceil(length);
        let interval =
            |part: usize| TierInterval { from: (part * length) as u64, reads: ByTier::default(), ahead: Bytes::ZERO };
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
    for (node, own) in by_node(requests, nodes).into_iter().enumerate() {
        let lost =
            if node == 0 { own.partition_point(|&n| (n as usize) < lost_at(requests, cache)) } else { own.len() };
        for (own, warm) in [(&own[..lost], true), (&own[lost..], false)] {
            if own.is_empty() {
                continue;
            }
            let objects: Vec<ObjectId> = own.iter().map(|&number| requests.objects[number as usize]).collect();
            let reads = (&objects[..], &requests.sizes);
            let found = with_policy(cache.policy, cache.capacity, reads, Alone { reads, cache, warm });
            run.warmed += found.warmed;
            for &(place, ahead) in &found.ahead {
                run.intervals[own[place] as usize / length].ahead += ahead;
            }
            let tiers = behind(requests, cache, &objects, &found.hits);
            for ((&number, &object), tier) in own.iter().zip(&objects).zip(tiers) {
                run.intervals[number as usize / length].reads.add(tier, requests.sizes.of(object));
            }
        }
    }
    run.sum_up();
    run
}

/// Where each read of a node found its object: what its memory did not have goes on to the cache on its drives, where there is
/// one. What comes from storage stays in both, as with a page cache over a cache on drives.
fn behind(requests: &Requests, cache: &Cache, objects: &[ObjectId], hits: &[bool]) -> Vec<Tier> {
    let mut tiers: Vec<Tier> = hits.iter().map(|&hit| if hit { Tier::Local } else { Tier::Storage }).collect();
    let Some(capacity) = cache.drives else { return tiers };
    let missed: Vec<usize> = (0..tiers.len()).filter(|&place| !hits[place]).collect();
    let objects: Vec<ObjectId> = missed.iter().map(|&place| objects[place]).collect();
    let reads = (&objects[..], &requests.sizes);
    // It begins empty, and reads nothing ahead: that is the first cache's to do.
    let plain = Cache { capacity, warm_up: WarmUp::None, read_ahead: 0, ..*cache };
    let found = with_policy(cache.policy, capacity, reads, Alone { reads, cache: &plain, warm: false });
    for (place, hit) in missed.into_iter().zip(found.hits) {
        if hit {
            tiers[place] = Tier::Drives;
        }
    }
    tiers
}

/// The numbers of every node's requests; of nodes that read nothing behind the last that does there is none.
fn by_node(requests: &Requests, nodes: u32) -> Vec<Vec<u32>> {
    let mut of_node: Vec<Vec<u32>> = Vec::new();
    for number in 0..requests.objects.len() {
        let node = (u32::from(requests.reader(number)) % nodes.max(1)) as usize;
        if of_node.len() <= node {
            of_node.resize_with(node + 1, Vec::new);
        }
        of_node[node].push(u32::try_from(number).unwrap_or(u32::MAX));
    }
    of_node
}

struct Alone<'a> {
    reads: Reads<'a>,
    cache: &'a Cache,
    warm: bool,
}

/// What one cache found, request by request.
struct Found {
    hits: Vec<bool>,
    warmed: Bytes,
    /// Bytes that were read ahead, with the place of the request.
    ahead: Vec<(usize, Bytes)>,
}

impl<'a> WithPolicy<'a> for Alone<'a> {
    type Output = Found;

    fn with(self, cache: impl Eviction + 'a) -> Found {
        let mut front = Front::new(self.cache, self.reads, cache);
        let warmed = if self.warm { front.warm_up(self.cache.warm_up) } else { Bytes::ZERO };
        let (mut hits, mut ahead) = (Vec::with_capacity(self.reads.0.len()), Vec::new());
        for (place, &object) in self.reads.0.iter().enumerate() {
            let before = front.ahead;
            hits.push(front.request(object));
            if front.ahead > before {
                ahead.push((place, front.ahead - before));
            }
        }
        Found { hits, warmed, ahead }
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
    Front::new(&settings, requests.reads(), with_policy(settings.policy, capacity, requests.reads(), Boxed))
}

/// The caches of nodes that read from each other.
struct Fleet<'a> {
    /// What a node keeps for itself, where it does.
    own: Vec<Shelf<'a>>,
    /// What it keeps for all.
    shared: Vec<Shelf<'a>>,
    own_bytes: Bytes,
    shared_bytes: Bytes,
    /// What all of them have read ahead.
    ahead: Bytes,
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
    run.warmed = fleet.warm_up(&warm_up_order(cache.warm_up, requests.reads()));
    let lost = lost_at(requests, cache);
    for (number, &object) in requests.objects.iter().enumerate() {
        if number == lost {
            fleet.lose_first(requests, cache);
        }
        let before = fleet.ahead;
        let tier = fleet.read(object, u32::from(requests.reader(number)) % nodes);
        let interval = &mut run.intervals[number / length];
        interval.reads.add(tier, requests.sizes.of(object));
        interval.ahead += fleet.ahead - before;
    }
    run.sum_up();
    run
}

impl<'a> Fleet<'a> {
    fn new(requests: &'a Requests, cache: &Cache, nodes: u32) -> Self {
        let two = cache.placement == CachePlacement::TwoLevel;
        let first = Bytes(if two { cache.capacity.0 / OWN } else { 0 });
        let shelves = |count: u32, bytes: Bytes| (0..count).map(|_| shelf(requests, cache, bytes)).collect();
        let (ring, replicas) = (Ring::new(nodes), cache.replicas.min(nodes) as usize);
        let rest = cache.capacity - first;
        Self {
            own: shelves(if two { nodes } else { 0 }, first),
            shared: shelves(nodes, rest),
            own_bytes: first,
            shared_bytes: rest,
            ahead: Bytes::ZERO,
            owners: ring.owners(requests.sizes.objects(), replicas),
            ring,
            replicas,
        }
    }

    fn warm_up(&mut self, order: &[ObjectId]) -> Bytes {
        let (owners, replicas) = (&self.owners, self.replicas);
        let of_node = |(shelf, node): (&mut Shelf<'_>, u16)| {
            let owned = |object: &ObjectId| owners_of(owners, replicas, *object).contains(&node);
            shelf.fill(order.iter().copied().filter(owned))
        };
        self.shared.iter_mut().zip(0..).map(of_node).sum()
    }

    /// The first node's caches are lost, and it owns nothing any more.
    fn lose_first(&mut self, requests: &'a Requests, cache: &Cache) {
        for (caches, capacity) in [(&mut self.own, self.own_bytes), (&mut self.shared, self.shared_bytes)] {
            if let Some(first) = caches.first_mut() {
                *first = shelf(requests, cache, capacity);
            }
        }
        self.ring.remove(0);
        self.replicas = self.replicas.min(self.ring.nodes());
        self.owners = self.ring.owners(requests.sizes.objects(), self.replicas);
    }

    fn read(&mut self, object: ObjectId, node: u32) -> Tier {
        if let Some(own) = self.own.get_mut(node as usize) {
            let before = own.ahead;
            let hit = own.request(object);
            self.ahead += own.ahead - before;
            if hit {
                return Tier::Local;
            }
        }
        let (all, replicas) = (&self.owners, self.replicas);
        let owners = owners_of(all, replicas, object);
        let shared = &mut self.shared;
        let mut holders = owners.iter().copied().filter(|&owner| shared[usize::from(owner)].contains(object));
        let holder = holders.clone().find(|&owner| u32::from(owner) == node).or_else(|| holders.next());
        for &owner in owners.iter().filter(|&&owner| holder.is_none_or(|holder| holder == owner)) {
            let keeps = |next: ObjectId| owners_of(all, replicas, next).contains(&owner);
            let shelf = &mut shared[usize::from(owner)];
            let before = shelf.ahead;
            shelf.request_of(object, keeps);
            self.ahead += shelf.ahead - before;
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
