//! The way of samples to a training step: workers read them from the nearest tier that has them, decode them and put
//! batches together, some of them ahead of the step.
//!
//! One replica is played, event by event, since all are alike: what they share (a node's drives, the storage's rate)
//! is divided among them. Workers take batches in turn and hand them on in order, as PyTorch's `DataLoader` does;
//! a worker begins a batch when no more than `prefetch` of its batches wait.
//!
//! * `loader` says what a replica's loader has to work with, and what filled caches serve,
//! * `servers` says how evenly reads load the servers of a distributed file system,
//! * `player` plays it,
//! * `wanted` plays it for the micro-batches of a step.

mod loader;
mod player;
mod servers;
mod wanted;

use serde::Serialize;

use super::cache::Tier;
use crate::units::{Bytes, BytesPerSec, Nanos};

pub use loader::late;
pub use wanted::samples_there;

use player::{Player, rounds};

/// How fast a tier serves one replica.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TierRate {
    /// Its share of what the tier delivers.
    pub bandwidth: BytesPerSec,
    /// What one read gets at most.
    pub alone: BytesPerSec,
    /// Time until the first byte of a sample.
    pub latency: Nanos,
}

impl TierRate {
    /// A tier that gives one read all that it has.
    pub fn new(bandwidth: BytesPerSec, latency: Nanos) -> Self {
        Self { bandwidth, alone: bandwidth, latency }
    }
}

/// What a read from storage costs beside its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Opening {
    /// Files that are opened for a sample, in the mean.
    pub files: f64,
    /// Time that metadata servers take for one at this replica's share of them.
    pub time: Nanos,
    /// Whether a file is read from begin to end, so that its first byte is waited for only where it is opened.
    pub in_sequence: bool,
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
    pub stored: [Bytes; 4],
    /// Bytes of a sample as the step reads it.
    pub decoded: Bytes,
    /// Time to decode and augment one on one core.
    pub decode: Nanos,
    /// How many times as long all that a worker does takes, since it serves other loaders too.
    pub pace: f64,
    /// Rate at which a worker puts a batch together.
    pub assemble: BytesPerSec,
    /// Rate at which a batch is copied to the device.
    pub copy: BytesPerSec,
    /// Whether the step waits for every copy, since it comes from memory that is not pinned.
    pub pageable: bool,
    /// Rate at which batches come from nodes that make them, where others than the replica's do.
    pub network: Option<BytesPerSec>,
    /// The tiers, in the order of [`Tier::ALL`].
    pub tiers: [TierRate; 4],
    /// What reads from storage cost beside their bytes.
    pub opening: Opening,
    /// What the servers of storage deliver of what they could, since reads load them unevenly; 1 where they are not told
    /// apart.
    pub evenness: f64,
    /// Of all reads, those that each of them serves.
    pub shares: [f64; 4],
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
    /// Opening files: larger files, or more metadata servers, help.
    Metadata,
    /// The way of batches from the nodes that make them.
    Network,
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
    pub busy: [Nanos; 4],
    /// How long metadata servers opened files.
    pub opening: Nanos,
    /// How long batches were on their way from the nodes that make them.
    pub sending: Nanos,
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

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    fn loader() -> Loader {
        let tier = TierRate::new(BytesPerSec(1e9), Nanos::ZERO);
        Loader {
            batch: 10,
            workers: 4,
            prefetch: 2,
            stored: [Bytes(100_000); 4],
            decoded: Bytes(600_000),
            decode: Nanos(8 * MS),
            pace: 1.0,
            assemble: BytesPerSec(1e15),
            copy: BytesPerSec(1e15),
            pageable: false,
            network: None,
            tiers: [tier; 4],
            opening: Opening::default(),
            evenness: 1.0,
            shares: [0.0, 0.0, 0.0, 1.0],
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
        let slow = TierRate::new(BytesPerSec(50e6), Nanos::ZERO);
        let of =
            |workers| Loader { workers, decode: Nanos(MS), tiers: [loader().tiers[0], slow, slow, slow], ..loader() };
        for workers in [4, 32] {
            let run = play_input(&of(workers), Nanos(12 * MS));
            assert!((run.stall.secs() * 1e3 - 8.0).abs() < 0.2, "{workers}: {}", run.stall);
            assert_eq!(run.bound, InputBound::Bandwidth(Tier::Storage));
        }
        // Half of the reads from a cache halve what storage has to deliver.
        let cached = Loader { shares: [0.5, 0.0, 0.0, 0.5], ..of(32) };
        assert_eq!(stall(&cached, 12), 0.0);
    }

    #[test]
    fn latency_is_hidden_by_more_workers() {
        let far = TierRate::new(BytesPerSec(10e9), Nanos(50 * MS));
        let of = |workers| Loader { workers, decode: Nanos(MS), tiers: [far; 4], ..loader() };
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

    #[test]
    fn opening_files_bounds_small_ones_and_not_shards() {
        // 4 ms each for ten files of a batch: one every 40 ms.
        let opening = Opening { files: 1.0, time: Nanos(4 * MS), in_sequence: false };
        let files = Loader { workers: 32, decode: Nanos(MS), opening, ..loader() };
        let run = play_input(&files, Nanos(25 * MS));
        assert!((run.stall.secs() * 1e3 - 15.0).abs() < 0.2, "{}", run.stall);
        assert_eq!(run.bound, InputBound::Metadata);
        let shards = Loader { opening: Opening { files: 0.01, in_sequence: true, ..opening }, ..files };
        assert_eq!(stall(&shards, 25), 0.0);
    }

    #[test]
    fn a_file_that_is_not_open_yet_holds_up_no_other_read() {
        // Of a batch 8 ms to open its file, and 10 ms to deliver it: each alone keeps up with 12 ms.
        let opening = Opening { files: 0.1, time: Nanos(8 * MS), in_sequence: true };
        let slow = TierRate::new(BytesPerSec(1e8), Nanos::ZERO);
        let both = Loader { workers: 8, decode: Nanos(MS), tiers: [slow; 4], opening, ..loader() };
        assert!(stall(&both, 12) < 0.3, "{}", stall(&both, 12));
    }

    #[test]
    fn workers_that_serve_others_too_take_as_much_longer_for_all_they_do() {
        let far = TierRate::new(BytesPerSec(10e9), Nanos(4 * MS));
        let own = Loader { tiers: [far; 4], ..loader() };
        let shared = Loader { workers: 8, pace: 2.0, ..own };
        assert!((stall(&own, 15) - stall(&shared, 15)).abs() < 0.3, "{} {}", stall(&own, 15), stall(&shared, 15));
        let many = Loader { workers: 100_000, pace: 25_000.0, ..own };
        assert!((stall(&own, 15) - stall(&many, 15)).abs() < 1.0, "{}", stall(&many, 15));
    }

    #[test]
    fn what_follows_in_a_file_is_not_waited_for() {
        let far = TierRate::new(BytesPerSec(10e9), Nanos(50 * MS));
        let records = Loader { decode: Nanos(MS), tiers: [far; 4], ..loader() };
        let opening = Opening { files: 0.01, time: Nanos::ZERO, in_sequence: true };
        assert!(stall(&records, 50) > 70.0 && stall(&Loader { opening, ..records }, 50) == 0.0);
    }

    #[test]
    fn one_read_gets_no_more_than_the_servers_that_hold_it_have() {
        // 100 kB at 5 MB/s are 20 ms, of which each worker has ten for a batch.
        let slow = TierRate { alone: BytesPerSec(5e6), ..TierRate::new(BytesPerSec(1e9), Nanos::ZERO) };
        let of = |workers| Loader { workers, decode: Nanos::ZERO, tiers: [slow; 4], ..loader() };
        assert!((stall(&of(1), 50) - 150.0).abs() < 2.0 && stall(&of(8), 50) == 0.0);
    }

    #[test]
    fn batches_of_other_nodes_come_over_the_network() {
        // 6 MB at 200 MB/s: one every 30 ms.
        let others = Loader { workers: 16, network: Some(BytesPerSec(200e6)), ..loader() };
        let run = play_input(&others, Nanos(20 * MS));
        assert!((run.stall.secs() * 1e3 - 10.0).abs() < 0.2, "{}", run.stall);
        assert_eq!(run.bound, InputBound::Network);
    }

    #[test]
    fn a_copy_from_pageable_memory_is_waited_for_each_time() {
        let pinned = Loader { decode: Nanos(MS), copy: BytesPerSec(1e9), ..loader() };
        assert_eq!(stall(&pinned, 20), 0.0);
        let run = play_input(&Loader { pageable: true, ..pinned }, Nanos(20 * MS));
        assert_eq!((run.stall, run.bound), (Nanos(6 * MS), InputBound::Copy));
    }
}
