//! What a replica's loader has to work with on a cluster, and what filled caches serve of its reads.

use super::{Loader, TierRate};
use crate::scenario::{Access, AccessPattern, Cache, CacheMedium, Input, Samples, Scenario};
use crate::sim::cache::{Served, replay_fleet, requests_of};
use crate::units::{Bytes, BytesPerSec, Nanos};

/// A read from a node's memory, and from its drives, until its first byte.
const MEMORY_LATENCY: Nanos = Nanos(5_000);
const DRIVE_LATENCY: Nanos = Nanos(100_000);

impl Loader {
    /// The loader of a replica of a scenario, behind caches that have been filled; its batches are micro-batches. None
    /// where nothing is said of samples, or what is read are rows that a step looks up by itself.
    pub fn of(scenario: &Scenario) -> Option<Self> {
        let input = scenario.data().input.filter(|input| input.access.pattern != AccessPattern::Zipf)?;
        let (cluster, strategy) = (scenario.cluster(), scenario.strategy());
        let host = &cluster.device.host;
        let (nodes, devices) = (f64::from(cluster.nodes), f64::from(cluster.devices_per_node));
        // Loaders of all jobs, dealt out to nodes: one for each stage at which a replica's pipeline begins.
        let copies = strategy.layout().copies();
        let loaders = f64::from(strategy.data_parallel) * f64::from(copies) * f64::from(input.access.jobs);
        let on_a_node = (loaders / nodes).max(1.0);
        let share = |of_device: BytesPerSec| BytesPerSec(of_device.0 * devices / on_a_node);
        let (own, latency) = match input.cache.medium {
            CacheMedium::Memory => (host.memory_bandwidth, MEMORY_LATENCY),
            CacheMedium::Nvme => (host.storage_bandwidth, DRIVE_LATENCY),
        };
        let link = &cluster.inter_link;
        let storage = (input.storage.node_bandwidth.0 / on_a_node).min(input.storage.bandwidth.0 / loaders);
        let tiers = [
            TierRate { bandwidth: share(own), latency },
            TierRate { bandwidth: share(link.bandwidth), latency: latency + link.latency * 2 },
            TierRate { bandwidth: BytesPerSec(storage), latency: input.storage.latency },
        ];
        let served = steady(&input, cluster.nodes, scenario.run().seed);
        Some(Self {
            batch: strategy.micro_batch,
            workers: input.loader.workers,
            prefetch: input.loader.prefetch,
            stored: served.sizes,
            decoded: input.loader.decoded,
            decode: input.loader.decode,
            assemble: host.memory_bandwidth,
            copy: host.bandwidth,
            tiers,
            shares: served.shares,
        })
    }

    /// The same with what tiers served.
    #[must_use]
    pub fn served_by(self, served: Served) -> Self {
        Self { stored: served.sizes, shares: served.shares, ..self }
    }

    /// The same with groups of samples in the place of samples, where there are too many to be played one by one.
    pub(super) fn grouped(self) -> Self {
        let group = (self.batch / LARGEST_BATCH).max(1);
        let times = u64::from(group);
        let longer = |time: Nanos| Nanos(time.0.saturating_mul(i64::from(group)));
        let tier = |tier: TierRate| TierRate { latency: longer(tier.latency), ..tier };
        Self {
            batch: self.batch.div_ceil(group),
            stored: self.stored.map(|size| size * times),
            decoded: self.decoded * times,
            decode: longer(self.decode),
            tiers: self.tiers.map(tier),
            ..self
        }
    }
}

/// Samples of a batch that are played one by one, at most.
const LARGEST_BATCH: u32 = 1024;

/// Reads that are played to see what filled caches serve.
const PLAYED: u64 = 100_000;

/// Samples of them at least, unless there are very many readers or nodes.
const FEWEST: u64 = 2_000;

/// Tables of objects at all nodes, in entries, at most.
const ENTRIES: u64 = 50_000_000;

/// Epochs and jobs of them at most: more change little.
const EPOCHS: u32 = 4;
const JOBS: u32 = 32;

/// The part of a trace at the end of which caches are filled: the last epoch. The jobs of a search become fewer, so there it
/// is all of them.
pub fn late(access: &Access) -> f64 {
    if access.pattern == AccessPattern::Search { 1.0 } else { 1.0 / f64::from(access.epochs.max(1)) }
}

/// What each tier serves of the last epoch, found on fewer samples and caches as much smaller.
fn steady(input: &Input, nodes: u32, seed: u64) -> Served {
    let Input { samples, access, cache, .. } = *input;
    let (epochs, jobs) = (access.epochs.min(EPOCHS), access.jobs.min(JOBS));
    let of_one = u64::from(epochs) * u64::from(jobs) * u64::from(access.readers(nodes));
    let enough = (PLAYED / of_one.max(1)).max(FEWEST.min(4 * PLAYED / of_one.max(1)));
    let enough = enough.min(ENTRIES / u64::from(nodes.max(1))).max(50);
    let count = samples.count.min(u32::try_from(enough).unwrap_or(u32::MAX));
    let scaled = |whole: u64| {
        let part = u128::from(whole) * u128::from(count) / u128::from(samples.count);
        u64::try_from(part).unwrap_or(u64::MAX).max(1)
    };
    let window = access.window.map(|window| u32::try_from(scaled(window.into())).unwrap_or(u32::MAX));
    let small = Input {
        samples: Samples { count, ..samples },
        access: Access { window, epochs, jobs, ..access },
        cache: Cache { capacity: Bytes(scaled(cache.capacity.0)), ..cache },
        ..*input
    };
    let run = replay_fleet(&requests_of(&small, nodes, seed), &small.cache, nodes, 60);
    let unserved = Served { shares: [0.0, 0.0, 1.0], sizes: [samples.size; 3] };
    run.served(late(&small.access)).unwrap_or(unserved)
}
