//! What a replica's loader has to work with on a cluster, and what filled caches serve of its reads.

use super::servers::delivered;
use super::{Loader, Opening, TierRate};
use crate::cluster::Cluster;
use crate::scenario::{
    Access, AccessPattern, Cache, CacheMedium, Input, Preprocessing, SampleFormat, Samples, Scenario, Storage,
};
use crate::sim::cache::{Served, Tier, replay_fleet, requests_of};
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
        let shares = Shares::of(scenario, &input);
        let served = steady(&input, input.reading_nodes(cluster.nodes), scenario.run().seed);
        let (workers, pace) = shares.workers(&input);
        let (storage, evenness) = shares.storage(&input);
        Some(Self {
            batch: strategy.micro_batch,
            workers,
            prefetch: input.loader.prefetch,
            stored: served.sizes,
            decoded: input.loader.decoded,
            decode: input.loader.decode,
            pace,
            assemble: cluster.device.host.memory_bandwidth,
            copy: cluster.device.host.bandwidth,
            pageable: input.loader.pageable,
            network: input.preprocessing.map(|others| shares.network(&others, cluster)),
            tiers: shares.tiers(&input, cluster, storage),
            opening: shares.opening(&input),
            evenness,
            shares: served.shares,
        })
    }

    /// The same with what tiers served.
    #[must_use]
    pub fn served_by(self, served: Served) -> Self {
        Self { stored: served.sizes, shares: served.shares, ..self }
    }

    /// The same with groups of samples in the place of samples, and fewer workers that are as much faster, where there are
    /// too many to be played one by one.
    pub(super) fn grouped(self) -> Self {
        let played = self.workers.min(MOST_WORKERS);
        let pace = self.pace * f64::from(played) / f64::from(self.workers.max(1));
        Self { workers: played, pace, ..self }.in_groups()
    }

    fn in_groups(self) -> Self {
        let group = (self.batch / LARGEST_BATCH).max(1);
        let times = u64::from(group);
        let longer = |time: Nanos| Nanos(time.0.saturating_mul(i64::from(group)));
        let mut tiers = self.tiers.map(|tier| TierRate { latency: longer(tier.latency), ..tier });
        if self.opening.in_sequence {
            tiers[Tier::Storage as usize].latency = self.tiers[Tier::Storage as usize].latency;
        }
        Self {
            batch: self.batch.div_ceil(group),
            stored: self.stored.map(|size| size * times),
            decoded: self.decoded * times,
            decode: longer(self.decode),
            tiers,
            opening: Opening { files: self.opening.files * f64::from(group), ..self.opening },
            ..self
        }
    }
}

/// Among how many loaders what there is is divided.
struct Shares {
    /// Loaders of all jobs: one for each stage at which a replica's pipeline begins.
    loaders: f64,
    /// Of them, those whose samples are read at the same node.
    on_a_node: f64,
    /// Of them, those whose batches go to the same node of the cluster.
    at_a_node: f64,
}

impl Shares {
    fn of(scenario: &Scenario, input: &Input) -> Self {
        let (cluster, strategy) = (scenario.cluster(), scenario.strategy());
        let of_job = f64::from(strategy.data_parallel) * f64::from(strategy.layout().copies());
        let loaders = of_job * f64::from(input.access.jobs);
        let per = |nodes: u32| loaders / f64::from(nodes);
        let at_a_node = per(cluster.nodes).max(1.0);
        // A loader runs on one node of the cluster, and its processes on many nodes beside it.
        let on_a_node = input.preprocessing.map_or(at_a_node, |others| per(others.nodes));
        Self { loaders, on_a_node, at_a_node }
    }

    /// Processes of a loader, and how many times as long all that they do takes. Nodes beside the cluster divide theirs:
    /// where a loader has no whole number of them, each serves others too.
    fn workers(&self, input: &Input) -> (u32, f64) {
        let Some(others) = input.preprocessing else { return (input.loader.workers, 1.0) };
        let exact = f64::from(others.nodes) * f64::from(others.workers) / self.loaders;
        let whole = exact.ceil().clamp(1.0, 65_536.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to 65536")]
        let workers = whole as u32;
        (workers, whole / exact.min(whole))
    }

    /// A loader's share of storage, and what servers deliver of what they could.
    fn storage(&self, input: &Input) -> (TierRate, f64) {
        let Storage { bandwidth, node_bandwidth, latency, servers, .. } = input.storage;
        let of_node = node_bandwidth.0 / self.on_a_node;
        let Some(servers) = servers else {
            return (TierRate::new(BytesPerSec(of_node.min(bandwidth.0 / self.loaders)), latency), 1.0);
        };
        // Where servers are what is waited for, every process waits for one.
        let processes = self.loaders * f64::from(self.workers(input).0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of processes")]
        let evenness = delivered(&servers, input.samples.size, processes.min(1e9) as u32);
        let all = f64::from(servers.count) * servers.bandwidth.0 * evenness;
        let share = of_node.min(bandwidth.0.min(all) / self.loaders);
        let of_read = servers.alone(input.samples.size).0;
        (
            TierRate { bandwidth: BytesPerSec(share), alone: BytesPerSec(of_read.min(node_bandwidth.0)), latency },
            evenness,
        )
    }

    fn tiers(&self, input: &Input, cluster: &Cluster, storage: TierRate) -> [TierRate; 4] {
        let (host, link) = (&cluster.device.host, &cluster.inter_link);
        let share = |of: BytesPerSec| BytesPerSec(of.0 * f64::from(cluster.devices_per_node) / self.on_a_node);
        let (own, latency) = match input.cache.medium {
            CacheMedium::Memory => (host.memory_bandwidth, MEMORY_LATENCY),
            CacheMedium::Nvme => (host.storage_bandwidth, DRIVE_LATENCY),
        };
        let between = input
            .preprocessing
            .map_or(share(link.bandwidth), |others| BytesPerSec(others.bandwidth.0 / self.on_a_node));
        let remote = TierRate::new(between, latency + link.latency * 2);
        let drives = TierRate::new(share(host.storage_bandwidth), DRIVE_LATENCY);
        [TierRate::new(share(own), latency), drives, remote, storage]
    }

    fn opening(&self, input: &Input) -> Opening {
        let files = match input.samples.format {
            SampleFormat::Files => 1.0,
            SampleFormat::Records => 0.0,
            SampleFormat::Shards => 1.0 / f64::from(input.samples.per_shard),
        };
        let time = input.storage.opens.map_or(Nanos::ZERO, |opens| Nanos::from_secs(self.loaders / opens));
        Opening { files, time, in_sequence: input.samples.format == SampleFormat::Shards }
    }

    /// Rate at which batches come from nodes beside the cluster: the less of what those send and these receive.
    fn network(&self, others: &Preprocessing, cluster: &Cluster) -> BytesPerSec {
        let sent = others.bandwidth.0 * f64::from(others.nodes) / self.loaders;
        let received = cluster.inter_link.bandwidth.0 * f64::from(cluster.devices_per_node) / self.at_a_node;
        BytesPerSec(sent.min(received))
    }
}

/// Workers that are played one by one, at most.
const MOST_WORKERS: u32 = 1024;

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
    let scaled_shard = u32::try_from(scaled(samples.per_shard.into())).unwrap_or(u32::MAX);
    let window = access.window.map(|window| u32::try_from(scaled(window.into())).unwrap_or(u32::MAX));
    let small = Input {
        samples: Samples { count, per_shard: scaled_shard, ..samples },
        access: Access { window, epochs, jobs, ..access },
        cache: Cache {
            capacity: Bytes(scaled(cache.capacity.0)),
            drives: cache.drives.map(|bytes| Bytes(scaled(bytes.0))),
            ..cache
        },
        ..*input
    };
    let run = replay_fleet(&requests_of(&small, nodes, seed), &small.cache, nodes, 60);
    let unserved = Served { shares: [0.0, 0.0, 0.0, 1.0], sizes: [samples.size; 4] };
    run.served(late(&small.access)).unwrap_or(unserved)
}
