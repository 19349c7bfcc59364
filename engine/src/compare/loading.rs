//! A run that is fed from disk: what its steps wait for samples, measured beside what the simulator says.

use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use serde::Serialize;
use web_time::Instant;

use crate::exec::{Asked, DiskLoader, DiskSamples, ExecError, Loaded, LoaderOptions, Trainer};
use crate::scenario::{Cache, CachePolicy, Scenario};
use crate::sim::cache::{Decision, ObjectId, Requests, Sizes, decisions};
use crate::sim::input::{InputRun, Loader, Opening, TierRate, play_input};
use crate::units::{Bytes, BytesPerSec, Nanos};

/// Samples that are read to see how fast the storage is.
const PROBED: u32 = 64;

/// What is loaded, and how.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LoadingOptions {
    /// Steps that are trained.
    pub steps: u32,
    /// Samples in the folder, where they have yet to be made.
    pub count: u32,
    /// Bytes of each.
    pub bytes: Bytes,
    /// Threads.
    pub workers: u32,
    /// Batches of each that may wait.
    pub prefetch: u32,
    /// What the storage delivers at most.
    pub limit: Option<BytesPerSec>,
    /// What leaves the cache.
    pub policy: CachePolicy,
    /// How large it is.
    pub capacity: Bytes,
}

/// A fed run, measured and modelled.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoadingReport {
    /// What was loaded, and how.
    pub options: LoadingOptions,
    /// Samples of a step.
    pub batch: u32,
    /// What lies in the folder: `written`, `images` or `texts`.
    pub kind: &'static str,
    /// How many samples.
    pub count: u32,
    /// Bytes of one as it lies on disk, in the mean.
    pub sample: Bytes,
    /// A step that is fed from memory, the median: measured before.
    pub step: Nanos,
    /// What each step waited for its batch: measured.
    pub waits: Vec<Nanos>,
    /// The loss of each.
    pub losses: Vec<f64>,
    /// What the loader did: measured.
    pub loaded: Loaded,
    /// What the model was told: rates that were measured before, and what the cache's simulation finds.
    pub model: Loader,
    /// What the simulator says of it.
    pub modelled: InputRun,
    /// The share of samples that the simulated cache finds, in the same order.
    pub modelled_hits: f64,
}

impl LoadingReport {
    /// What a step waits in the mean of the second half, measured.
    pub fn wait(&self) -> Nanos {
        let late = &self.waits[self.waits.len() / 2..];
        let sum: i64 = late.iter().map(|wait| wait.0).sum();
        Nanos(sum / i64::try_from(late.len().max(1)).unwrap_or(1))
    }

    /// The share of samples that were in memory, measured.
    pub fn hits(&self) -> f64 {
        self.loaded.hits as f64 / self.loaded.samples.max(1) as f64
    }
}

/// Trains some steps that are fed from a folder; `progress` is told the share and returns whether to go on.
///
/// # Errors
/// When the folder cannot be used, or the device is lost.
pub async fn measure_loading(
    scenario: &Scenario,
    trainer: &mut Trainer,
    folder: &Path,
    options: LoadingOptions,
    progress: &mut dyn FnMut(f32) -> bool,
) -> Result<LoadingReport, ExecError> {
    let samples = DiskSamples::open_or_make(folder, scenario, options.count, options.bytes)?;
    let batch = scenario.strategy().global_batch;
    // Fed from memory first: what a step takes that never waits.
    let mut steps = Vec::new();
    for _ in 0..3 {
        steps.push(trainer.step().await?.wall);
    }
    steps.sort_unstable();
    let order = order(samples.count(), u64::from(options.steps) * u64::from(batch), scenario.run().seed);
    let sizes = match samples.alike() {
        Some(size) => Sizes::Alike { objects: samples.count(), size },
        None => Sizes::Each((0..samples.count()).map(|number| samples.size(number)).collect()),
    };
    let requests = Requests { objects: order, sizes, readers: Vec::new() };
    let cache = Cache { policy: options.policy, ..Cache::with_capacity(options.capacity) };
    let decided = decisions(&requests, &cache);
    let found = |decided: &[Decision]| {
        decided.iter().filter(|decision| decision.hit).count() as f64 / decided.len().max(1) as f64
    };
    let modelled_hits = found(&decided);
    // What steps wait is counted in the second half, when the cache is filled.
    let model = model(&samples, batch, &options, found(&decided[decided.len() / 2..]))?;
    let asked = requests.objects.iter().zip(decided).map(|(object, decision)| Asked {
        sample: object.0,
        hit: decision.hit,
        stays: decision.stays,
        leaves: decision.leaves.into_iter().map(|object| object.0).collect(),
    });
    let LoadingOptions { workers, prefetch, limit, .. } = options;
    let (kind, count, sample) = (samples.kind(), samples.count(), samples.bytes());
    let mut loader = DiskLoader::start(samples, LoaderOptions { batch, workers, prefetch, limit }, asked.collect());
    let (mut waits, mut losses) = (Vec::new(), Vec::new());
    for number in 0..options.steps {
        if !progress(number as f32 / options.steps.max(1) as f32) {
            return Err(ExecError::Cancelled);
        }
        let begin = Instant::now();
        let Some(batch) = loader.next_batch()? else { break };
        waits.push(Nanos::from(begin.elapsed()));
        trainer.give(batch);
        losses.push(trainer.step().await?.loss);
    }
    let step = steps[1];
    let (modelled, loaded) = (play_input(&model, step), loader.loaded());
    Ok(LoadingReport {
        options,
        batch,
        kind,
        count,
        sample,
        step,
        waits,
        losses,
        loaded,
        model,
        modelled,
        modelled_hits,
    })
}

/// Every sample once an epoch, shuffled anew for each (Fisher & Yates).
fn order(count: u32, requests: u64, seed: u64) -> Vec<ObjectId> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut order = Vec::new();
    while (order.len() as u64) < requests {
        let mut epoch: Vec<u32> = (0..count).collect();
        for place in (1..epoch.len()).rev() {
            let other = random.next_u64() % (place as u64 + 1);
            epoch.swap(place, usize::try_from(other).unwrap_or(0));
        }
        order.extend(epoch.into_iter().map(ObjectId));
    }
    order.truncate(usize::try_from(requests).unwrap_or(usize::MAX));
    order
}

/// What the simulator is told: the rates of this storage and of decoding, measured on some samples.
fn model(samples: &DiskSamples, batch: u32, options: &LoadingOptions, hits: f64) -> Result<Loader, ExecError> {
    let probed = PROBED.min(samples.count());
    let (mut reading, mut decoding, mut words) = (Nanos::ZERO, Nanos::ZERO, 0_u64);
    for number in 0..probed {
        let begin = Instant::now();
        let content = samples.read(number)?;
        reading += Nanos::from(begin.elapsed());
        let begin = Instant::now();
        let sample = samples.decode(number, &content)?;
        decoding += Nanos::from(begin.elapsed());
        words += sample.values().map(|words| words.len() as u64).sum::<u64>();
    }
    let each = |time: Nanos| Nanos(time.0 / i64::from(probed.max(1)));
    let bytes = samples.bytes();
    // What a file takes of its own is its latency; the rate is what the storage is limited to, or this machine's.
    let own = BytesPerSec(bytes.as_f64() / each(reading).secs().max(1e-9));
    let latency = options.limit.map_or(Nanos::ZERO, |_| each(reading));
    let storage = TierRate::new(options.limit.unwrap_or(own), latency);
    let memory = TierRate::new(BytesPerSec(1e12), Nanos::ZERO);
    Ok(Loader {
        batch,
        workers: options.workers,
        prefetch: options.prefetch,
        stored: [bytes; 4],
        decoded: Bytes(words * 4 / u64::from(probed.max(1))),
        decode: each(decoding),
        pace: 1.0,
        assemble: BytesPerSec(1e12),
        copy: BytesPerSec(1e12),
        pageable: false,
        network: None,
        opening: Opening::default(),
        evenness: 1.0,
        tiers: [memory, memory, memory, storage],
        shares: [hits, 0.0, 0.0, 1.0 - hits],
    })
}
