//! The way of samples to a training step: workers read them from the nearest tier that has them, decode them and put
//! batches together, some of them ahead of the step.
//!
//! One replica is played, event by event, since all are alike: what they share (a node's drives, the storage's rate)
//! is divided among them. Workers take batches in turn and hand them on in order, as PyTorch's `DataLoader` does;
//! a worker begins a batch when no more than `prefetch` of its batches wait.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde::Serialize;

use super::cache::Tier;
use crate::units::{Bytes, BytesPerSec, Nanos};

/// How fast a tier serves one replica.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TierRate {
    /// Its share of what the tier delivers.
    pub bandwidth: BytesPerSec,
    /// Time until the first byte of a sample.
    pub latency: Nanos,
}

/// What stands between storage and a replica's step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Loader {
    /// Samples of a replica in a step.
    pub batch: u32,
    /// Processes that read and decode.
    pub workers: u32,
    /// Batches of each that may wait.
    pub prefetch: u32,
    /// Bytes of a sample as it is stored.
    pub stored: Bytes,
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

/// Plays the input of `steps` steps that compute for `compute` each.
pub fn play_input(loader: &Loader, compute: Nanos, steps: u32) -> InputRun {
    Player::new(loader, compute, steps).play()
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
    compute: Nanos,
    steps: u32,
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
    fn new(loader: &'a Loader, compute: Nanos, steps: u32) -> Self {
        let count = loader.workers.max(1);
        let workers = (0..count).map(|batch| Worker { batch, done: 0, waits: None }).collect();
        let begin = |worker: u32| Reverse((Nanos::ZERO, worker as usize));
        Self {
            loader,
            compute,
            steps,
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
        while self.taken.len() < self.steps as usize
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
        let transfer = self.loader.stored / bandwidth;
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
            let wanted = if self.taken.is_empty() { Nanos::ZERO } else { self.last_taken + self.compute };
            // Batches that wait are copied one after the other, while the step before computes.
            self.copied = self.copied.max(made) + copying;
            let ready = self.copied;
            self.last_taken = ready.max(wanted);
            self.taken.push(StepInput { wanted, ready });
        }
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

    fn finish(mut self) -> InputRun {
        self.taken.truncate(self.steps as usize);
        // Batches come in rounds of all workers, so whole rounds count.
        let (half, round) = (self.taken.len() / 2, self.loader.workers.max(1) as usize);
        let counted = if half < round { half } else { half / round * round };
        let late = &self.taken[self.taken.len() - counted..];
        let stalled: i64 = late.iter().map(|step| step.stall().0).sum();
        let stall = Nanos(stalled / i64::try_from(late.len()).unwrap_or(1).max(1));
        let time = self.last_taken + self.compute;
        let mut run =
            InputRun { steps: self.taken, stall, workers: self.time, busy: self.busy, time, bound: InputBound::None };
        run.bound = bound(&run, self.loader);
        run
    }
}

/// What a run waits for: a tier that delivers nearly all the time, else what workers do most.
fn bound(run: &InputRun, loader: &Loader) -> InputBound {
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
            stored: Bytes(100_000),
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
        play_input(loader, Nanos(compute * MS), 400).stall.secs() * 1e3
    }

    #[test]
    fn what_is_decoded_in_time_is_never_waited_for() {
        // Four workers need 80 ms for a batch each: one every 20 ms.
        let run = play_input(&loader(), Nanos(25 * MS), 400);
        assert_eq!((run.stall, run.bound), (Nanos::ZERO, InputBound::None));
        assert!(run.workers.ahead > Nanos::ZERO);
    }

    #[test]
    fn a_step_waits_for_decoding_as_long_as_that_is_slower() {
        let run = play_input(&loader(), Nanos(15 * MS), 400);
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
            let run = play_input(&of(workers), Nanos(12 * MS), 400);
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
        let run = play_input(&of(4), Nanos(50 * MS), 400);
        assert_eq!(run.bound, InputBound::Latency);
        assert!((run.stall.secs() * 1e3 - (510.0 / 4.0 - 50.0)).abs() < 1.0, "{}", run.stall);
        assert_eq!(stall(&of(16), 50), 0.0);
    }

    #[test]
    fn what_workers_did_adds_up_and_batches_come_in_order() {
        let run = play_input(&loader(), Nanos(15 * MS), 100);
        // Of a sample 100 µs of the storage, and 8 ms of a worker; some belong to batches that are not taken any more.
        let samples = run.busy[Tier::Storage as usize].0 / (MS / 10);
        assert!((1000..1000 + 8 * 10).contains(&samples), "{samples}");
        assert_eq!(run.workers.decoding, Nanos(samples * 8 * MS));
        assert_eq!(run.steps.len(), 100);
        assert!(run.steps.windows(2).all(|pair| pair[0].ready <= pair[1].ready));
        assert_eq!(run.busy[Tier::Local as usize], Nanos::ZERO);
    }

    #[test]
    fn a_batch_that_is_large_waits_for_its_copy() {
        let large = Loader { decode: Nanos(MS), copy: BytesPerSec(100e6), ..loader() };
        // 6 MB at 100 MB/s.
        let run = play_input(&large, Nanos(20 * MS), 100);
        assert!((run.stall.secs() * 1e3 - 40.0).abs() < 1.0, "{}", run.stall);
        assert_eq!(run.bound, InputBound::Copy);
    }
}
