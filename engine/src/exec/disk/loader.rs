//! Threads that read samples ahead of a run.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::DiskSamples;
use crate::exec::ExecError;
use crate::exec::data::Sample;
use crate::units::{Bytes, BytesPerSec, Nanos};

/// A sample that is asked for, and what becomes of the cache with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Which.
    pub sample: u32,
    /// Whether it should be in memory.
    pub hit: bool,
    /// Whether it stays there.
    pub stays: bool,
    /// What leaves for it.
    pub leaves: Vec<u32>,
}

/// How samples are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LoaderOptions {
    /// Samples of a batch.
    pub batch: u32,
    /// Threads.
    pub workers: u32,
    /// Batches of each that may wait.
    pub prefetch: u32,
    /// What the storage delivers at most, where it is to be slower than this machine's.
    pub limit: Option<BytesPerSec>,
}

/// What was loaded by now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Loaded {
    /// Samples that were asked for.
    pub samples: u64,
    /// Those that were in memory.
    pub hits: u64,
    /// Bytes that were read.
    pub read: Bytes,
    /// Time in which all threads waited for reads.
    pub reading: Nanos,
    /// Time in which they decoded.
    pub decoding: Nanos,
}

/// The longest that a read is held back.
const LONGEST: Duration = Duration::from_secs(3600);

/// What all threads share.
struct Shared {
    samples: DiskSamples,
    options: LoaderOptions,
    /// What is asked for, in order.
    order: Vec<Asked>,
    /// What is in memory.
    held: Mutex<BTreeMap<u32, Arc<Vec<u8>>>>,
    /// When the storage has delivered what was asked of it.
    storage: Mutex<Instant>,
    loaded: Mutex<Loaded>,
}

/// What a thread hands over.
type Made = Result<Vec<Sample>, ExecError>;

/// A loader that runs.
pub struct DiskLoader {
    shared: Arc<Shared>,
    /// Of each thread.
    batches: Vec<Receiver<Made>>,
    next: usize,
}

impl std::fmt::Debug for DiskLoader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskLoader").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl DiskLoader {
    /// Starts threads that make batches of samples in an order, each of them every so many-th batch, as PyTorch's
    /// `DataLoader` deals them out.
    pub fn start(samples: DiskSamples, options: LoaderOptions, order: Vec<Asked>) -> Self {
        let held = Mutex::new(BTreeMap::new());
        let (storage, loaded) = (Mutex::new(Instant::now()), Mutex::new(Loaded::default()));
        let shared = Arc::new(Shared { samples, options, order, held, storage, loaded });
        let start = |worker: u32| {
            // What is being made counts as one that waits.
            let (send, receive) = sync_channel(options.prefetch.saturating_sub(1) as usize);
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.work(worker, &send));
            receive
        };
        let batches = (0..options.workers).map(start).collect();
        Self { shared, batches, next: 0 }
    }

    /// The next batch; waits until it is there. None behind the last.
    ///
    /// # Errors
    /// When a sample cannot be read.
    pub fn next_batch(&mut self) -> Result<Option<Vec<Sample>>, ExecError> {
        let worker = self.next % self.batches.len().max(1);
        self.next += 1;
        let all = self.shared.order.len() / self.shared.options.batch.max(1) as usize;
        match self.batches.get(worker).map(Receiver::recv) {
            Some(Ok(made)) => made.map(Some),
            _ if self.next > all => Ok(None),
            _ => Err(ExecError::Storage {
                what: "cannot go on".to_owned(),
                why: "a thread that reads has ended".to_owned(),
            }),
        }
    }

    /// What was loaded by now.
    pub fn loaded(&self) -> Loaded {
        *lock(&self.shared.loaded)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Makes every `workers`-th batch, until nobody takes them.
    fn work(&self, worker: u32, send: &SyncSender<Made>) {
        let batches = self.order.chunks_exact(self.options.batch as usize);
        for asked in batches.skip(worker as usize).step_by(self.options.workers as usize) {
            let made: Made = asked.iter().map(|asked| self.sample(asked)).collect();
            let failed = made.is_err();
            if send.send(made).is_err() || failed {
                return;
            }
        }
    }

    fn sample(&self, asked: &Asked) -> Result<Sample, ExecError> {
        let begin = Instant::now();
        // Where threads ask in another order than was planned, what should be here may not be yet, and is read.
        let held = if asked.hit { lock(&self.held).get(&asked.sample).cloned() } else { None };
        let hit = held.is_some();
        let content = match held {
            Some(content) => content,
            None => self.fetch(asked)?,
        };
        let read = Instant::now();
        let sample = self.samples.decode(asked.sample, &content)?;
        let mut loaded = lock(&self.loaded);
        loaded.samples += 1;
        loaded.hits += u64::from(hit);
        loaded.read += if hit { Bytes::ZERO } else { Bytes(content.len() as u64) };
        loaded.reading += Nanos::from(read - begin);
        loaded.decoding += Nanos::from(read.elapsed());
        Ok(sample)
    }

    fn fetch(&self, asked: &Asked) -> Result<Arc<Vec<u8>>, ExecError> {
        self.wait_for_storage(asked.sample);
        let content = Arc::new(self.samples.read(asked.sample)?);
        let mut held = lock(&self.held);
        asked.leaves.iter().for_each(|sample| drop(held.remove(sample)));
        if asked.stays || asked.hit {
            held.insert(asked.sample, Arc::clone(&content));
        }
        Ok(content)
    }

    /// Waits as a storage would that delivers one sample after the other at the rate that it has.
    fn wait_for_storage(&self, sample: u32) {
        let Some(limit) = self.options.limit else { return };
        let time = Duration::try_from_secs_f64(self.samples.size(sample).as_f64() / limit.0).unwrap_or(LONGEST);
        let until = {
            let mut free = lock(&self.storage);
            *free = (*free).max(Instant::now()) + time;
            *free
        };
        thread::sleep(until.saturating_duration_since(Instant::now()));
    }
}
