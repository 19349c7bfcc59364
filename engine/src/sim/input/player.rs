//! The events of a loader: workers that read, decode and put batches together, tiers that deliver one sample after the other.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::{InputBound, InputRun, Loader, StepInput, TierRate, WorkerTime};
use crate::sim::cache::Tier;
use crate::units::{Bytes, Nanos};

/// Steps of so many batches that are played: enough that bursts of workers even out, and no more samples than need be.
pub(super) fn rounds(loader: &Loader, batches_of_step: usize) -> u32 {
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

/// What a worker does.
#[derive(Clone, Copy, Debug)]
struct Worker {
    batch: u32,
    /// Samples of it that are decoded.
    done: u32,
    /// The file that it has opened for the next sample: when it asked for it, and how often a first byte is waited for.
    opened: Option<(Nanos, i64)>,
}

pub(super) struct Player<'a> {
    loader: &'a Loader,
    /// From a batch to the next, over and over.
    gaps: &'a [Nanos],
    batches: u32,
    workers: Vec<Worker>,
    /// When each worker asks for its next sample; ties by number.
    events: BinaryHeap<Reverse<(Nanos, usize)>>,
    /// When a tier can deliver the next sample.
    tier_free: [Nanos; 4],
    busy: [Nanos; 4],
    /// When metadata servers can open the next file, how long they opened some, and the part of a file that is left over.
    metadata_free: Nanos,
    opening: Nanos,
    files: f64,
    /// When the last batch came over the network, and how long some were on their way.
    sent: Nanos,
    sending: Nanos,
    /// When each batch was put together, while it is not taken.
    made: Vec<Option<Nanos>>,
    taken: Vec<StepInput>,
    /// When the step took its last batch.
    last_taken: Nanos,
    copied: Nanos,
    time: WorkerTime,
    /// Workers that wait to begin a batch, and since when.
    waiting: BTreeMap<u32, (usize, Nanos)>,
    /// Samples so far, to deal them out to tiers.
    samples: [f64; 4],
}

impl<'a> Player<'a> {
    pub(super) fn new(loader: &'a Loader, gaps: &'a [Nanos], steps: u32) -> Self {
        let batches = steps.saturating_mul(u32::try_from(gaps.len()).unwrap_or(u32::MAX));
        let count = loader.workers.max(1);
        let workers = (0..count).map(|batch| Worker { batch, done: 0, opened: None }).collect();
        let begin = |worker: u32| Reverse((Nanos::ZERO, worker as usize));
        Self {
            loader,
            gaps,
            batches,
            workers,
            events: (0..count).map(begin).collect(),
            tier_free: [Nanos::ZERO; 4],
            busy: [Nanos::ZERO; 4],
            metadata_free: Nanos::ZERO,
            opening: Nanos::ZERO,
            // The first sample opens a file.
            files: if loader.opening.files > 0.0 { 1.0 } else { 0.0 },
            sent: Nanos::ZERO,
            sending: Nanos::ZERO,
            made: Vec::new(),
            taken: Vec::new(),
            last_taken: Nanos::ZERO,
            copied: Nanos::ZERO,
            time: WorkerTime::default(),
            waiting: BTreeMap::new(),
            samples: [0.0; 4],
        }
    }

    /// Workers go on until the last step has its batch: what they do for later ones is theirs to do.
    pub(super) fn play(mut self) -> InputRun {
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

    /// Reads and decodes the worker's next sample; first opens the file in which it lies.
    fn sample(&mut self, now: Nanos, worker: usize) {
        if let Some((asked, waited)) = self.workers[worker].opened.take() {
            return self.transfer(Tier::Storage as usize, (asked, now), waited, worker);
        }
        let tier = self.next_tier();
        if tier != Tier::Storage as usize {
            return self.transfer(tier, (now, now), 1, worker);
        }
        let (opened, waited) = self.open(now);
        if opened > now {
            // Until then others read.
            self.workers[worker].opened = Some((now, waited));
            self.events.push(Reverse((opened, worker)));
        } else {
            self.transfer(tier, (now, now), waited, worker);
        }
    }

    /// Reads a sample that was `asked` for and can be read from `now` on, and decodes it.
    fn transfer(&mut self, tier: usize, (asked, now): (Nanos, Nanos), waited: i64, worker: usize) {
        let TierRate { bandwidth, alone, latency } = self.loader.tiers[tier];
        let transfer = self.loader.stored[tier] / bandwidth;
        let begin = self.tier_free[tier].max(now);
        self.tier_free[tier] = begin + transfer;
        self.busy[tier] += transfer;
        let there = (begin + transfer).max(now + self.loader.stored[tier] / alone);
        let read = there + latency * waited;
        self.time.reading += read - asked;
        self.time.decoding += self.loader.decode;
        self.workers[worker].done += 1;
        self.events.push(Reverse((self.paced(asked, read + self.loader.decode), worker)));
    }

    /// When a worker goes on that was busy until `end`, and serves others too.
    fn paced(&self, begin: Nanos, end: Nanos) -> Nanos {
        if self.loader.pace == 1.0 { end } else { begin + Nanos::from_secs((end - begin).secs() * self.loader.pace) }
    }

    /// Opens the files of a sample: when that is done, and how often their first byte is waited for.
    fn open(&mut self, now: Nanos) -> (Nanos, i64) {
        self.files += self.loader.opening.files;
        #[expect(clippy::cast_possible_truncation, reason = "some files of a group of samples")]
        let count = self.files as i64;
        self.files -= count as f64;
        let waited = if self.loader.opening.in_sequence { count } else { 1 };
        let time = self.loader.opening.time * count;
        if time == Nanos::ZERO {
            return (now, waited);
        }
        self.metadata_free = self.metadata_free.max(now) + time;
        self.opening += time;
        (self.metadata_free, waited)
    }

    /// The tier that serves the next sample: the one that is furthest behind its share.
    fn next_tier(&mut self) -> usize {
        let behind = |tier: &usize| self.samples[*tier] + self.loader.shares[*tier];
        let tier = (0..Tier::ALL.len()).max_by(|a, b| behind(a).total_cmp(&behind(b)).then(b.cmp(a))).unwrap_or(0);
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
        let made = self.paced(now, now + assembling);
        self.made[place] = Some(made);
        let next = batch.saturating_add(self.loader.workers.max(1));
        self.workers[worker] = Worker { batch: next, done: 0, opened: None };
        self.waiting.insert(next, (worker, made));
        self.take(bytes);
        self.begin_batches();
    }

    /// Hands batches to the step, in order, as far as they are there.
    fn take(&mut self, bytes: Bytes) {
        let copying = bytes / self.loader.copy;
        while let Some(made) = self.made.get(self.taken.len()).copied().flatten() {
            let wanted = if self.taken.is_empty() { Nanos::ZERO } else { self.last_taken + self.gap() };
            let here = self.send(made, bytes);
            // Batches that wait are copied one after the other, while the step before computes.
            let begin = if self.loader.pageable { here.max(wanted) } else { here };
            self.copied = self.copied.max(begin) + copying;
            let ready = self.copied;
            self.last_taken = ready.max(wanted);
            self.taken.push(StepInput { wanted, ready });
        }
    }

    /// When a batch that was made is at the replica's node.
    fn send(&mut self, made: Nanos, bytes: Bytes) -> Nanos {
        let Some(rate) = self.loader.network else { return made };
        let time = bytes / rate;
        self.sent = self.sent.max(made) + time;
        self.sending += time;
        self.sent
    }

    /// From the last batch that was taken to the next.
    fn gap(&self) -> Nanos {
        self.gaps[self.taken.len() % self.gaps.len().max(1)]
    }

    /// Lets workers begin for whose next batch there is room.
    fn begin_batches(&mut self) {
        let ahead = self.loader.workers.max(1).saturating_mul(self.loader.prefetch.max(1));
        // Batches are taken in order, so the first that waits is the first that may begin.
        while let Some((&batch, &(worker, free))) = self.waiting.first_key_value() {
            // The batch that has to be taken before, and when it was.
            let since = match batch.checked_sub(ahead).map(|before| self.taken.get(before as usize)) {
                None => Nanos::ZERO,
                Some(Some(taken)) => taken.ready.max(taken.wanted),
                Some(None) => return,
            };
            self.waiting.pop_first();
            let begin = free.max(since);
            self.time.ahead += begin - free;
            self.events.push(Reverse((begin, worker)));
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
        let (opening, sending) = (self.opening, self.sending);
        let mut run = InputRun { steps: self.taken, stalls, stall, workers, busy, opening, sending, time, bound };
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
    let nearly_always = |time: Nanos| time.secs() > 0.9 * run.time.secs();
    if nearly_always(run.opening) {
        return InputBound::Metadata;
    } else if nearly_always(run.busy[busiest as usize]) {
        return InputBound::Bandwidth(busiest);
    } else if nearly_always(run.sending) {
        return InputBound::Network;
    }
    let copying = Bytes(loader.decoded.0.saturating_mul(loader.batch.into())) / loader.copy;
    let copying = Nanos(copying.0.saturating_mul(run.steps.len() as i64));
    let waited_for =
        loader.pageable && copying.secs() > 0.5 * run.steps.iter().map(|step| step.stall().secs()).sum::<f64>();
    if nearly_always(copying) || waited_for || assembling > reading.max(decoding) {
        InputBound::Copy
    } else if decoding >= reading {
        InputBound::Decode
    } else {
        InputBound::Latency
    }
}
