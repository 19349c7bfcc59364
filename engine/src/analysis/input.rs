//! Whether samples come as fast as a step takes them: what a replica's loader has to work with on a cluster, what a step
//! waits for it, and how large a cache would have to be for it to wait no more.

use serde::Serialize;

use crate::graph::lower;
use crate::scenario::Scenario;
use crate::sim::cache::{FleetRun, Served};
use crate::sim::input::{InputRun, Loader, late, play_input};
use crate::sim::step_time;
use crate::units::{Bytes, Nanos};

/// Of a step's time, what it may wait without being called slowed.
const NOTICED: f64 = 0.001;

/// A replica's loader, and the step that it feeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Feed {
    /// The loader.
    pub loader: Loader,
    /// How long a step computes and communicates when it never waits for samples.
    pub compute: Nanos,
    /// The part of a trace at the end of which caches are filled.
    pub late: f64,
    /// Bytes of a sample in the mean.
    pub size: Bytes,
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
    /// The loader of a replica of a scenario, which makes batches of whole steps, and the step that it feeds; none where
    /// the scenario says nothing of samples, or what is read are rows that a step looks up by itself.
    pub fn of(scenario: &Scenario) -> Option<Self> {
        let loader = Loader::of(scenario)?;
        let unfed = scenario.without_input();
        let compute = step_time(&lower(&unfed), &unfed);
        let strategy = scenario.strategy();
        let loaders = strategy.data_parallel * strategy.layout().copies();
        let batch = (strategy.global_batch / loaders.max(1)).max(1);
        let input = scenario.data().input?;
        let (late, size) = (late(&input.access), input.samples.size);
        Some(Self { loader: Loader { batch, ..loader }, compute, late, size })
    }

    fn behind(self, run: &FleetRun) -> Self {
        run.served(self.late).map_or(self, |served| Self { loader: self.loader.served_by(served), ..self })
    }

    /// The same without a cache.
    fn uncached(self) -> Self {
        let served = Served { shares: [0.0, 0.0, 0.0, 1.0], sizes: [self.size; 4] };
        Self { loader: self.loader.served_by(served), ..self }
    }

    fn play(&self) -> InputRun {
        play_input(&self.loader, self.compute)
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
    if !feed.uncached().is_slowed() {
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
