//! Whether samples come as fast as a step takes them: what a replica's loader has to work with on a cluster, what a step
//! waits for it, and how large a cache would have to be for it to wait no more.

use serde::Serialize;

use crate::scenario::{AccessPattern, CacheMedium, Scenario};
use crate::sim::cache::{ByTier, FleetRun};
use crate::sim::input::{InputRun, Loader, TierRate, play_input};
use crate::units::{Bytes, BytesPerSec, Nanos};

/// Steps that are played at least: the first half fills what workers have ahead, the second counts.
const STEPS: u32 = 200;

/// Rounds of all workers that are played at least.
const ROUNDS: u32 = 8;

/// Of a step's time, what it may wait without being called slowed.
const NOTICED: f64 = 0.001;

/// A read from a node's memory, and from its drives, until its first byte.
const MEMORY_LATENCY: Nanos = Nanos(5_000);
const DRIVE_LATENCY: Nanos = Nanos(100_000);

/// A replica's loader before anything is known of caches, and the step that it feeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Feed {
    /// The loader; all its reads go to storage.
    pub loader: Loader,
    /// How long a step computes and communicates when it never waits for samples.
    pub compute: Nanos,
}

/// How samples come to a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InputReport {
    /// How long a step computes and communicates.
    pub compute: Nanos,
    /// How long it waits for samples besides.
    pub stall: Nanos,
    /// The loader with what caches serve in the last part of the trace.
    pub loader: Loader,
    /// What it did.
    pub run: InputRun,
    /// The least cache of a node with which a step does not wait, to a hundredth of all objects; none where no cache is
    /// large enough.
    pub least_capacity: Option<Bytes>,
}

impl InputReport {
    /// A step with what it waits for samples.
    pub fn step_time(&self) -> Nanos {
        self.compute + self.stall
    }
}

impl Feed {
    /// The loader of a replica of a scenario whose step takes `compute`; none where it says nothing of samples, or what is
    /// read are rows that a step looks up by itself.
    pub fn of(scenario: &Scenario, compute: Nanos) -> Option<Self> {
        let input = scenario.data().input.filter(|input| input.access.pattern != AccessPattern::Zipf)?;
        let (cluster, strategy) = (scenario.cluster(), scenario.strategy());
        let host = &cluster.device.host;
        let (nodes, devices) = (f64::from(cluster.nodes), f64::from(cluster.devices_per_node));
        // Replicas of all jobs, dealt out to nodes.
        let replicas = f64::from(strategy.data_parallel) * f64::from(input.access.jobs);
        let on_a_node = (replicas / nodes).max(1.0);
        let share = |of_device: BytesPerSec| BytesPerSec(of_device.0 * devices / on_a_node);
        let (own, latency) = match input.cache.medium {
            CacheMedium::Memory => (host.memory_bandwidth, MEMORY_LATENCY),
            CacheMedium::Nvme => (host.storage_bandwidth, DRIVE_LATENCY),
        };
        let link = &cluster.inter_link;
        let storage = input.storage.node_bandwidth.0.min(input.storage.bandwidth.0 / nodes) / on_a_node;
        let tiers = [
            TierRate { bandwidth: share(own), latency },
            TierRate { bandwidth: share(link.bandwidth), latency: latency + link.latency * 2 },
            TierRate { bandwidth: BytesPerSec(storage), latency: input.storage.latency },
        ];
        let loader = Loader {
            batch: strategy.global_batch / strategy.data_parallel.max(1),
            workers: input.loader.workers,
            prefetch: input.loader.prefetch,
            stored: input.samples.size,
            decoded: input.loader.decoded,
            decode: input.loader.decode,
            assemble: host.memory_bandwidth,
            copy: host.bandwidth,
            tiers,
            shares: [0.0, 0.0, 1.0],
        };
        Some(Self { loader, compute })
    }

    /// The same with what caches serve in the last part of a trace.
    #[must_use]
    pub fn behind(self, run: &FleetRun) -> Self {
        let last = run.intervals.last().map_or_else(ByTier::default, |interval| interval.reads);
        let all = last.requests.iter().sum::<u64>();
        if all == 0 {
            return self;
        }
        let shares = last.requests.map(|requests| requests as f64 / all as f64);
        Self { loader: Loader { shares, ..self.loader }, ..self }
    }

    /// Plays it.
    pub fn play(&self) -> InputRun {
        play_input(&self.loader, self.compute, STEPS.max(ROUNDS * self.loader.workers))
    }

    /// Whether a step waits for samples.
    fn is_slowed(&self) -> bool {
        self.play().stall.secs() > self.compute.secs() * NOTICED
    }
}

/// How samples come to a step behind caches that did `run`; `with` plays caches of other sizes, `all` are the bytes of all
/// objects.
pub fn input_report(feed: Feed, run: &FleetRun, all: Bytes, with: impl Fn(Bytes) -> FleetRun) -> InputReport {
    let here = feed.behind(run);
    let played = here.play();
    InputReport {
        compute: feed.compute,
        stall: played.stall,
        loader: here.loader,
        run: played,
        least_capacity: least_capacity(feed, all, with),
    }
}

/// By halving: more bytes never serve less, but for policies and traces that are rare.
fn least_capacity(feed: Feed, all: Bytes, with: impl Fn(Bytes) -> FleetRun) -> Option<Bytes> {
    const PARTS: u64 = 128;
    if !feed.is_slowed() {
        return Some(Bytes::ZERO);
    }
    let of = |part: u64| Bytes((all.0 / PARTS * part + all.0 % PARTS * part / PARTS).max(1));
    let slowed = |part: u64| feed.behind(&with(of(part))).is_slowed();
    if slowed(PARTS) {
        return None;
    }
    let (mut too_small, mut enough) = (0, PARTS);
    while enough - too_small > 1 {
        let middle = too_small.midpoint(enough);
        if slowed(middle) {
            too_small = middle;
        } else {
            enough = middle;
        }
    }
    Some(of(enough))
}
