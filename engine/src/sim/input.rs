//! The way of samples to a training step: workers read them from the nearest tier that has them, decode them and put
//! batches together, some of them ahead of the step.
//!
//! One replica is played, event by event, since all are alike: what they share (a node's drives, the storage's rate)
//! is divided among them. Workers take batches in turn and hand them on in order, as PyTorch's `DataLoader` does;
//! a worker begins a batch when no more than `prefetch` of its batches wait.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use serde::Serialize;

use super::cache::{Served, Tier, replay_fleet, requests_of};
use crate::scenario::{Access, AccessPattern, Cache, CacheMedium, Input, Samples, Sampling, Scenario};
use crate::trace::{Phase, Stream, Trace};
use crate::units::{Bytes, BytesPerSec, Nanos};

/// How fast a tier serves one replica.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TierRate {
    /// Its share of what the tier delivers.
    pub bandwidth: BytesPerSec,
    /// Time until the first byte of a sample.
    pub latency: Nanos,
}

/// What stands between storage and a replica's step; a pipeline that begins at both ends has one at each.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Loader {
    /// Samples of a replica in a step.
    pub batch: u32,
    /// Processes that read and decode.
    pub workers: u32,
    /// Batches of each that may wait.
    pub prefetch: u32,
    /// Bytes of a sample as it is stored, in the mean of those that each tier serves, in the order of [`Tier::ALL`].
    pub stored: [Bytes; 3],
    /// Bytes of a sample as the step reads it.
    pub decoded: Bytes,
    /// Time to decode and augment one on one core.
    pub decode: Nanos,
    /// Rate at which a worker puts a batch together.
    pub assemble: BytesPerSec,
    /// Rate at which a batch is copied to the device.
    pub copy: BytesPerSec,
    /// The tiers, in the order of [`Tier::ALL`].
    pub tiers: [TierRate; 3],
    /// Of all reads, those that each of them serves.
    pub shares: [f64; 3],
}

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
    fn grouped(self) -> Self {
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
    let readers = if access.sampling == Sampling::Node { nodes } else { 1 };
    let of_one = u64::from(epochs) * u64::from(jobs) * u64::from(readers);
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

/// When the samples of each micro-batch of a step are there, in a step like the mean of many; `trace` is that step with
/// `samples` there at these times, and says when they are wanted.
///
/// A micro-batch that waits moves all behind it. What that hides, such as the host that issues kernels meanwhile, is seen
/// in the next trace, so this is asked again until the step no longer changes.
pub fn samples_there(loader: &Loader, trace: &Trace, micro_batches: u32) -> Vec<Nanos> {
    let started = started(trace, micro_batches);
    let waited = waited(trace, &started);
    let mut there = vec![Nanos::ZERO; started.len()];
    let mut of_stage: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (m, &(_, stage)) in started.iter().enumerate() {
        of_stage.entry(stage).or_default().push(m);
    }
    // A pipeline that begins at both ends has a loader at each.
    for mut order in of_stage.into_values() {
        order.sort_by_key(|&m| (started[m].0, m));
        let start = |&m: &usize| started[m].0;
        let (Some(first), Some(last)) = (order.first(), order.last()) else { continue };
        let around = trace.step_time - start(last) + start(first) - waited[*first];
        let between = order.windows(2).map(|pair| start(&pair[1]) - start(&pair[0]) - waited[pair[1]]);
        let gaps: Vec<Nanos> = std::iter::once(around).chain(between).map(|gap| gap.max(Nanos::ZERO)).collect();
        let stalls = play_gaps(loader, &gaps, rounds(loader, gaps.len())).stalls;
        let mut moved = Nanos::ZERO;
        for (&m, stall) in order.iter().zip(stalls) {
            moved += stall - waited[m];
            there[m] = started[m].0 + moved;
        }
    }
    there
}

/// When the first kernel of each micro-batch starts, and on which stage.
fn started(trace: &Trace, micro_batches: u32) -> Vec<(Nanos, u32)> {
    let mut started = vec![(trace.step_time, 0); micro_batches as usize];
    for span in &trace.spans {
        let (track, phase) = (trace.track(span), trace.labels[span.label.0 as usize].phase);
        if phase == Phase::Forward
            && track.stream == Stream::Compute
            && let Some(known) = started.get_mut(span.micro_batch as usize)
        {
            *known = (*known).min((span.start, track.stage));
        }
    }
    started
}

/// What each micro-batch waited for its samples where it started, on the rank where it waited longest.
fn waited(trace: &Trace, started: &[(Nanos, u32)]) -> Vec<Nanos> {
    let mut waited = vec![Nanos::ZERO; started.len()];
    for span in trace.spans.iter().filter(|span| trace.track(span).stream == Stream::Input) {
        let m = span.micro_batch as usize;
        if started.get(m).is_some_and(|(_, stage)| *stage == trace.track(span).stage) {
            waited[m] = waited[m].max(span.duration);
        }
    }
    waited
}

/// Steps of so many batches that are played: enough that bursts of workers even out, and no more samples than need be.
fn rounds(loader: &Loader, batches_of_step: usize) -> u32 {
    let least = LEAST.max(ROUNDS.saturating_mul(loader.workers));
    let batches = (SAMPLES / loader.batch.max(1)).clamp(least, MOST.max(least));
    batches.div_ceil(u32::try_from(batches_of_step).unwrap_or(u32::MAX).max(1)).max(4)
}

/// Batches that are played, at least and at most: the first half fills what workers have ahead, the second counts.
const LEAST: u32 = 200;
const MOST: u32 = 4_000;

/// Samples of all batches that are played, where the least number of batches has no more.
const SAMPLES: u32 = 300_000;

/// Rounds of all workers that are played at least.
const ROUNDS: u32 = 8;

/// When a step had its batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StepInput {
    /// When the step was ready for it.
    pub wanted: Nanos,
    /// When it was on the device.
    pub ready: Nanos,
}

impl StepInput {
    /// How long the step waited.
    pub fn stall(&self) -> Nanos {
        (self.ready - self.wanted).max(Nanos::ZERO)
    }
}

/// What workers do with their time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WorkerTime {
    /// Waiting for reads.
    pub reading: Nanos,
    /// Decoding.
    pub decoding: Nanos,
    /// Putting batches together.
    pub assembling: Nanos,
    /// Waiting until a batch is taken.
    pub ahead: Nanos,
}

/// What slows the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InputBound {
    /// Nothing: workers are ahead of the step.
    None,
    /// Decoding: more workers, or less work, help.
    Decode,
    /// The rate of a tier.
    Bandwidth(Tier),
    /// The time until the first byte: more workers or larger objects help.
    Latency,
    /// Putting batches together, or copying them to the device.
    Copy,
}

/// How the input of some steps went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InputRun {
    /// Every step.
    pub steps: Vec<StepInput>,
    /// What each batch of a step waits in the mean of the second half; see `stall`.
    pub stalls: Vec<Nanos>,
    /// What a step waits in the mean of the second half, or of so many whole rounds of all workers as there are in it: by
    /// then workers are no longer ahead of the step only because they began before.
    pub stall: Nanos,
    /// What all workers did together.
    pub workers: WorkerTime,
    /// How long each tier delivered, in the order of [`Tier::ALL`].
    pub busy: [Nanos; 3],
    /// From the first read to the last step.
    pub time: Nanos,
    /// What slows it.
    pub bound: InputBound,
}

/// Plays the input of enough steps that compute for `compute` each.
pub fn play_input(loader: &Loader, compute: Nanos) -> InputRun {
    play_gaps(loader, &[compute], rounds(loader, 1))
}

/// Plays the input of `steps` steps of some batches, which are wanted so long after the one before was taken.
fn play_gaps(loader: &Loader, gaps: &[Nanos], steps: u32) -> InputRun {
    Player::new(&loader.grouped(), gaps, steps).play()
}

/// What a worker does.
#[derive(Clone, Copy, Debug)]
struct Worker {
    batch: u32,
    /// Samples of it that are decoded.
    done: u32,
    /// Since when it waits to begin it, while it does.
    waits: Option<Nanos>,
}

struct Player<'a> {
    loader: &'a Loader,
    /// From a batch to the next, over and over.
    gaps: &'a [Nanos],
    batches: u32,
    workers: Vec<Worker>,
    /// When each worker asks for its next sample; ties by number.
    events: BinaryHeap<Reverse<(Nanos, usize)>>,
    /// When a tier can deliver the next sample.
    tier_free: [Nanos; 3],
    busy: [Nanos; 3],
    /// When each batch was put together, while it is not taken.
    made: Vec<Option<Nanos>>,
    taken: Vec<StepInput>,
    /// When the step took its last batch.
    last_taken: Nanos,
    copied: Nanos,
    time: WorkerTime,
    /// Samples so far, to deal them out to tiers.
    samples: [f64; 3],
}

impl<'a> Player<'a> {
    fn new(loader: &'a Loader, gaps: &'a [Nanos], steps: u32) -> Self {
        let batches = steps.saturating_mul(u32::try_from(gaps.len()).unwrap_or(u32::MAX));
        let count = loader.workers.max(1);
        let workers = (0..count).map(|batch| Worker { batch, done: 0, waits: None }).collect();
        let begin = |worker: u32| Reverse((Nanos::ZERO, worker as usize));
        Self {
            loader,
            gaps,
            batches,
            workers,
            events: (0..count).map(begin).collect(),
            tier_free: [Nanos::ZERO; 3],
            busy: [Nanos::ZERO; 3],
            made: Vec::new(),
            taken: Vec::new(),
            last_taken: Nanos::ZERO,
            copied: Nanos::ZERO,
            time: WorkerTime::default(),
            samples: [0.0; 3],
        }
    }

    /// Workers go on until the last step has its batch: what they do for later ones is theirs to do.
    fn play(mut self) -> InputRun {
        while self.taken.len() < self.batches as usize
            && let Some(Reverse((now, worker))) = self.events.pop()
        {
            if self.workers[worker].done < self.loader.batch {
                self.sample(now, worker);
            } else {
                self.finish_batch(now, worker);
            }
        }
        self.finish()
    }

    /// Reads and decodes the worker's next sample.
    fn sample(&mut self, now: Nanos, worker: usize) {
        let tier = self.next_tier();
        let TierRate { bandwidth, latency } = self.loader.tiers[tier];
        let transfer = self.loader.stored[tier] / bandwidth;
        let begin = self.tier_free[tier].max(now);
        self.tier_free[tier] = begin + transfer;
        self.busy[tier] += transfer;
        let read = begin + transfer + latency;
        self.time.reading += read - now;
        self.time.decoding += self.loader.decode;
        self.workers[worker].done += 1;
        self.events.push(Reverse((read + self.loader.decode, worker)));
    }

    /// The tier that serves the next sample: the one that is furthest behind its share.
    fn next_tier(&mut self) -> usize {
        let behind = |tier: &usize| self.samples[*tier] + self.loader.shares[*tier];
        let tier = (0..3).max_by(|a, b| behind(a).total_cmp(&behind(b)).then(b.cmp(a))).unwrap_or(0);
        self.samples.iter_mut().zip(self.loader.shares).for_each(|(sum, share)| *sum += share);
        self.samples[tier] -= 1.0;
        tier
    }

    /// Puts a batch together and goes on with the next one.
    fn finish_batch(&mut self, now: Nanos, worker: usize) {
        let bytes = Bytes(self.loader.decoded.0.saturating_mul(self.loader.batch.into()));
        let assembling = bytes / self.loader.assemble;
        self.time.assembling += assembling;
        let Worker { batch, .. } = self.workers[worker];
        let place = batch as usize;
        if self.made.len() <= place {
            self.made.resize(place + 1, None);
        }
        self.made[place] = Some(now + assembling);
        let next = batch.saturating_add(self.loader.workers.max(1));
        self.workers[worker] = Worker { batch: next, done: 0, waits: Some(now + assembling) };
        self.take(bytes / self.loader.copy);
        self.begin_batches();
    }

    /// Hands batches to the step, in order, as far as they are there.
    fn take(&mut self, copying: Nanos) {
        while let Some(made) = self.made.get(self.taken.len()).copied().flatten() {
            let wanted = if self.taken.is_empty() { Nanos::ZERO } else { self.last_taken + self.gap() };
            // Batches that wait are copied one after the other, while the step before computes.
            self.copied = self.copied.max(made) + copying;
            let ready = self.copied;
            self.last_taken = ready.max(wanted);
            self.taken.push(StepInput { wanted, ready });
        }
    }

    /// From the last batch that was taken to the next.
    fn gap(&self) -> Nanos {
        self.gaps[self.taken.len() % self.gaps.len().max(1)]
    }

    /// Lets workers begin for whose next batch there is room.
    fn begin_batches(&mut self) {
        let ahead = self.loader.workers.max(1).saturating_mul(self.loader.prefetch.max(1));
        for (number, worker) in self.workers.iter_mut().enumerate() {
            let Some(free) = worker.waits else { continue };
            // The batch that has to be taken before, and when it was.
            let since = match worker.batch.checked_sub(ahead).map(|before| self.taken.get(before as usize)) {
                None => Nanos::ZERO,
                Some(Some(taken)) => taken.ready.max(taken.wanted),
                Some(None) => continue,
            };
            let begin = free.max(since);
            self.time.ahead += begin - free;
            worker.waits = None;
            self.events.push(Reverse((begin, number)));
        }
    }

    /// Batches come in rounds of all workers, and steps have some batches: whole ones of both count.
    fn stalls(&self) -> Vec<Nanos> {
        let (half, of_step) = (self.taken.len() / 2, self.gaps.len().max(1));
        let round = lcm(self.loader.workers.max(1) as usize, of_step);
        let unit = if round > half { of_step } else { round };
        let late = &self.taken[self.taken.len() - half / unit * unit..];
        let steps = i64::try_from(late.len() / of_step).unwrap_or(1).max(1);
        let mean = |place: usize| {
            let of_place = late.iter().skip(place).step_by(of_step);
            Nanos(of_place.map(|batch| batch.stall().0).sum::<i64>() / steps)
        };
        (0..of_step).map(mean).collect()
    }

    fn finish(mut self) -> InputRun {
        self.taken.truncate(self.batches as usize);
        let stalls = self.stalls();
        let stall = stalls.iter().copied().sum();
        let time = self.last_taken + self.gaps.iter().copied().sum();
        let (workers, busy, bound) = (self.time, self.busy, InputBound::None);
        let mut run = InputRun { steps: self.taken, stalls, stall, workers, busy, time, bound };
        run.bound = slowed_by(&run, self.loader);
        run
    }
}

fn lcm(a: usize, b: usize) -> usize {
    let (mut x, mut y) = (a, b);
    while y > 0 {
        (x, y) = (y, x % y);
    }
    (a / x.max(1)).saturating_mul(b)
}

/// What a run waits for: a tier that delivers nearly all the time, else what workers do most.
fn slowed_by(run: &InputRun, loader: &Loader) -> InputBound {
    if run.stall.secs() <= run.time.secs() / run.steps.len().max(1) as f64 * 0.001 {
        return InputBound::None;
    }
    let busiest = Tier::ALL.into_iter().max_by_key(|&tier| run.busy[tier as usize]).unwrap_or(Tier::Storage);
    let WorkerTime { reading, decoding, assembling, .. } = run.workers;
    if run.busy[busiest as usize].secs() > 0.9 * run.time.secs() {
        return InputBound::Bandwidth(busiest);
    }
    let copying = Bytes(loader.decoded.0.saturating_mul(loader.batch.into())) / loader.copy;
    let copying = Nanos(copying.0.saturating_mul(run.steps.len() as i64));
    if copying.secs() > 0.9 * run.time.secs() || assembling > reading.max(decoding) {
        InputBound::Copy
    } else if decoding >= reading {
        InputBound::Decode
    } else {
        InputBound::Latency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    fn loader() -> Loader {
        let tier = TierRate { bandwidth: BytesPerSec(1e9), latency: Nanos::ZERO };
        Loader {
            batch: 10,
            workers: 4,
            prefetch: 2,
            stored: [Bytes(100_000); 3],
            decoded: Bytes(600_000),
            decode: Nanos(8 * MS),
            assemble: BytesPerSec(1e15),
            copy: BytesPerSec(1e15),
            tiers: [tier; 3],
            shares: [0.0, 0.0, 1.0],
        }
    }

    /// Milliseconds that a step waits for its batch.
    fn stall(loader: &Loader, compute: i64) -> f64 {
        play_input(loader, Nanos(compute * MS)).stall.secs() * 1e3
    }

    #[test]
    fn what_is_decoded_in_time_is_never_waited_for() {
        // Four workers need 80 ms for a batch each: one every 20 ms.
        let run = play_input(&loader(), Nanos(25 * MS));
        assert_eq!((run.stall, run.bound), (Nanos::ZERO, InputBound::None));
        assert!(run.workers.ahead > Nanos::ZERO);
    }

    #[test]
    fn a_step_waits_for_decoding_as_long_as_that_is_slower() {
        let run = play_input(&loader(), Nanos(15 * MS));
        assert!((run.stall.secs() * 1e3 - 5.25).abs() < 0.1, "{}", run.stall);
        assert_eq!(run.bound, InputBound::Decode);
        let more = Loader { workers: 8, ..loader() };
        assert_eq!(stall(&more, 15), 0.0);
    }

    #[test]
    fn the_rate_of_storage_bounds_all_workers() {
        // A batch is 1 MB: at 50 MB/s one every 20 ms, however many workers there are.
        let slow = TierRate { bandwidth: BytesPerSec(50e6), latency: Nanos::ZERO };
        let of = |workers| Loader { workers, decode: Nanos(MS), tiers: [loader().tiers[0], slow, slow], ..loader() };
        for workers in [4, 32] {
            let run = play_input(&of(workers), Nanos(12 * MS));
            assert!((run.stall.secs() * 1e3 - 8.0).abs() < 0.2, "{workers}: {}", run.stall);
            assert_eq!(run.bound, InputBound::Bandwidth(Tier::Storage));
        }
        // Half of the reads from a cache halve what storage has to deliver.
        let cached = Loader { shares: [0.5, 0.0, 0.5], ..of(32) };
        assert_eq!(stall(&cached, 12), 0.0);
    }

    #[test]
    fn latency_is_hidden_by_more_workers() {
        let far = TierRate { bandwidth: BytesPerSec(10e9), latency: Nanos(50 * MS) };
        let of = |workers| Loader { workers, decode: Nanos(MS), tiers: [far; 3], ..loader() };
        let run = play_input(&of(4), Nanos(50 * MS));
        assert_eq!(run.bound, InputBound::Latency);
        assert!((run.stall.secs() * 1e3 - (510.0 / 4.0 - 50.0)).abs() < 1.0, "{}", run.stall);
        assert_eq!(stall(&of(16), 50), 0.0);
    }

    #[test]
    fn what_workers_did_adds_up_and_batches_come_in_order() {
        let run = play_gaps(&loader(), &[Nanos(15 * MS)], 100);
        // Of a sample 100 µs of the storage, and 8 ms of a worker; some belong to batches that are not taken any more.
        let samples = run.busy[Tier::Storage as usize].0 / (MS / 10);
        assert!((1000..1000 + 8 * 10).contains(&samples), "{samples}");
        assert_eq!(run.workers.decoding, Nanos(samples * 8 * MS));
        assert_eq!(run.steps.len(), 100);
        assert!(run.steps.windows(2).all(|pair| pair[0].ready <= pair[1].ready));
        assert_eq!(run.busy[Tier::Local as usize], Nanos::ZERO);
    }

    #[test]
    fn batches_of_a_step_wait_where_they_come_close_to_each_other() {
        // One every 20 ms; wanted in pairs 5 ms apart, a pair every 40 ms: the second waits, unless some are ahead.
        let run = play_gaps(
            &Loader { prefetch: 1, workers: 1, decode: Nanos(2 * MS), ..loader() },
            &[Nanos(35 * MS), Nanos(5 * MS)],
            200,
        );
        assert!(run.stalls[0] < Nanos(MS) && run.stalls[1] > Nanos(10 * MS), "{:?}", run.stalls);
        let ahead = Loader { decode: Nanos(6 * MS), ..loader() };
        assert_eq!(play_gaps(&ahead, &[Nanos(35 * MS), Nanos(5 * MS)], 200).stall, Nanos::ZERO);
    }

    #[test]
    fn a_batch_that_is_large_waits_for_its_copy() {
        let large = Loader { decode: Nanos(MS), copy: BytesPerSec(100e6), ..loader() };
        // 6 MB at 100 MB/s.
        let run = play_input(&large, Nanos(20 * MS));
        assert!((run.stall.secs() * 1e3 - 40.0).abs() < 1.0, "{}", run.stall);
        assert_eq!(run.bound, InputBound::Copy);
    }
}
