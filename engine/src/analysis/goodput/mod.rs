//! How much of a long run counts: every way to take checkpoints at every interval, beside the rules of Young and Daly.

mod paths;

use serde::Serialize;

use crate::cluster::Cluster;
use crate::scenario::Scenario;
use crate::scenario::resilience::{CheckpointMode, Checkpointing, Resilience};
use crate::sim::faults::{Job, JobTime, Taking, play_job};
use crate::units::{Bytes, Nanos};

use paths::time_of;
pub use paths::{Hop, Paths};

/// Runs whose mean counts: the same failures for every interval and way.
const RUNS: u64 = 24;

/// Intervals of a curve.
const POINTS: u32 = 30;

/// What a run with some interval has.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct GoodputPoint {
    /// Steps from a checkpoint to the next.
    pub interval: u32,
    /// The mean of all runs.
    pub time: JobTime,
    /// Goodput of the worst and of the best run.
    pub range: [f64; 2],
}

/// What a way to take checkpoints gives.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModeReport {
    /// The way.
    pub mode: CheckpointMode,
    /// How long a checkpoint holds up the steps, in the mean of whole ones and increments.
    pub blocking: Nanos,
    /// How long it takes after that until it can be read back; the mean, too.
    pub background: Nanos,
    /// How long it takes to read it back after a node was lost; the mean, too.
    pub read: Nanos,
    /// Where whole ones go.
    pub paths: Paths,
    /// Goodput over the interval.
    pub curve: Vec<GoodputPoint>,
    /// The best interval, found on the runs.
    pub best: GoodputPoint,
    /// The interval by Young's rule, in steps (Young 1974).
    pub young: f64,
    /// By Daly's (Daly 2006, equation 37).
    pub daly: f64,
}

/// What becomes of a long run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GoodputReport {
    /// A step.
    pub step: Nanos,
    /// Bytes of what is kept.
    pub state: Bytes,
    /// Mean time between failures of the whole job.
    pub mtbf: Nanos,
    /// How long the run is looked at.
    pub horizon: Nanos,
    /// The chosen way with the chosen interval, or its best.
    pub chosen: GoodputPoint,
    /// Which way that is.
    pub mode: CheckpointMode,
    /// All ways.
    pub modes: Vec<ModeReport>,
}

/// The job of a scenario whose step takes so long, with a way to take checkpoints.
fn job(resilience: &Resilience, cluster: &Cluster, step: Nanos, paths: &Paths) -> Job {
    let Resilience { checkpoint, reliability, .. } = *resilience;
    let part = |share: f64| Taking {
        blocking: time_of(&paths.blocking, share),
        background: time_of(&paths.background, share),
        read: time_of(&paths.read, share),
        read_here: time_of(&paths.read_here, share),
    };
    let [hardware, software] = reliability.failure_rate(cluster);
    Job {
        step,
        interval: checkpoint.interval.unwrap_or(1),
        whole: part(1.0),
        increment: part(checkpoint.share),
        round: checkpoint.full_every,
        survives: checkpoint.mode == CheckpointMode::MultiLevel,
        hardware,
        software,
        detect: reliability.detect,
        replace: reliability.replace,
        restart: reliability.restart,
        repair: reliability.repair,
        spares: reliability.spares,
        horizon: reliability.horizon,
    }
}

/// The mean of all runs with an interval.
fn point(job: &Job, interval: u32) -> GoodputPoint {
    let job = Job { interval, ..*job };
    let mut time = JobTime::default();
    let mut range = [1.0_f64, 0.0];
    for seed in 0..RUNS {
        let one = play_job(&job, seed);
        time += one;
        range = [range[0].min(one.goodput()), range[1].max(one.goodput())];
    }
    GoodputPoint { interval, time: time.mean(RUNS), range }
}

/// Intervals, each by the same factor larger, up to as many steps as fit between ten failures.
fn intervals(job: &Job, mtbf: Nanos) -> Vec<u32> {
    let most = (10.0 * mtbf.secs().min(job.horizon.secs()) / job.step.secs().max(1e-9)).clamp(2.0, 1e6);
    let factor = libm::log(most) / f64::from(POINTS - 1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from one to a million")]
    let mut all: Vec<u32> = (0..POINTS).map(|n| libm::exp(factor * f64::from(n)).round() as u32).collect();
    all.dedup();
    all
}

/// The best interval between the neighbours of the best of a curve, by leaving out a third of what is left at a time.
fn best(job: &Job, curve: &[GoodputPoint]) -> Option<GoodputPoint> {
    let goodput = |point: &GoodputPoint| point.time.goodput();
    let top = (0..curve.len()).max_by(|&a, &b| goodput(&curve[a]).total_cmp(&goodput(&curve[b])))?;
    let (mut low, mut high) = (curve[top.saturating_sub(1)].interval, curve[(top + 1).min(curve.len() - 1)].interval);
    let mut found = curve[top];
    while high - low > 2 {
        let third = ((high - low) / 3).max(1);
        let [left, right] = [low + third, high - third].map(|interval| point(job, interval));
        for tried in [left, right] {
            if goodput(&tried) > goodput(&found) {
                found = tried;
            }
        }
        if goodput(&left) < goodput(&right) {
            low = left.interval;
        } else {
            high = right.interval;
        }
    }
    Some(found)
}

/// Young's interval in seconds: √(2 δ M).
fn young(delta: f64, mtbf: f64) -> f64 {
    libm::sqrt(2.0 * delta * mtbf)
}

/// Daly's: √(2 δ M) (1 + √(δ / 2M) / 3 + δ / 18M) − δ, and M where δ is above 2 M.
fn daly(delta: f64, mtbf: f64) -> f64 {
    if delta >= 2.0 * mtbf {
        return mtbf;
    }
    let ratio = delta / (2.0 * mtbf);
    young(delta, mtbf) * (1.0 + libm::sqrt(ratio) / 3.0 + ratio / 9.0) - delta
}

fn mode_report(job: &Job, mode: CheckpointMode, paths: Paths, mtbf: Nanos) -> Option<ModeReport> {
    let curve: Vec<GoodputPoint> = intervals(job, mtbf).into_iter().map(|interval| point(job, interval)).collect();
    let blocking = job.mean(|taking| taking.blocking);
    let background = job.mean(|taking| taking.background);
    let (delta, step) = (blocking.secs(), job.step.secs().max(1e-9));
    Some(ModeReport {
        mode,
        blocking,
        background,
        read: job.mean_read(),
        paths,
        best: best(job, &curve)?,
        curve,
        young: young(delta, mtbf.secs()) / step,
        daly: daly(delta, mtbf.secs()) / step,
    })
}

/// A long run that is not played yet: each way to take checkpoints stands for itself.
#[derive(Clone, Copy, Debug)]
pub struct GoodputStudy<'a> {
    resilience: &'a Resilience,
    cluster: &'a Cluster,
    step: Nanos,
    mtbf: Nanos,
}

impl<'a> GoodputStudy<'a> {
    /// The long run of a scenario whose step takes `step`; none where nothing is said of checkpoints or failures.
    pub fn of(scenario: &'a Scenario, step: Nanos) -> Option<Self> {
        let (resilience, cluster) = (scenario.resilience()?, scenario.cluster());
        let rate: f64 = resilience.reliability.failure_rate(cluster).iter().sum();
        Some(Self { resilience, cluster, step, mtbf: Nanos::from_secs(1.0 / rate.max(1e-12)) })
    }

    /// The ways that there are: a single node has no peer.
    pub fn modes(&self) -> impl Iterator<Item = CheckpointMode> + use<> {
        let alone = self.cluster.nodes == 1;
        CheckpointMode::ALL.iter().copied().filter(move |&mode| !alone || mode != CheckpointMode::Peer)
    }

    /// The job with a way to take checkpoints, and that way.
    fn job(&self, mode: CheckpointMode) -> (Job, Paths) {
        let Resilience { checkpoint, reliability, state } = *self.resilience;
        let resilience = Resilience { checkpoint: Checkpointing { mode, ..checkpoint }, reliability, state };
        let paths = Paths::of(&resilience.checkpoint, self.cluster, state, mode);
        (job(&resilience, self.cluster, self.step, &paths), paths)
    }

    /// Plays one of them.
    pub fn play(&self, mode: CheckpointMode) -> Option<ModeReport> {
        let (job, paths) = self.job(mode);
        mode_report(&job, mode, paths, self.mtbf)
    }

    /// Puts all together; none where the chosen way is not among them.
    pub fn finish(&self, modes: Vec<ModeReport>) -> Option<GoodputReport> {
        let Self { resilience, step, mtbf, .. } = *self;
        let mode = resilience.checkpoint.mode;
        let own = modes.iter().find(|report| report.mode == mode)?;
        let chosen = match resilience.checkpoint.interval {
            Some(interval) => point(&self.job(mode).0, interval),
            None => own.best,
        };
        let (state, horizon) = (resilience.state, resilience.reliability.horizon);
        Some(GoodputReport { step, state, mtbf, horizon, chosen, mode, modes })
    }
}

/// What becomes of the long run of a scenario whose step takes `step`; none where nothing is said of checkpoints or
/// failures.
pub fn goodput(scenario: &Scenario, step: Nanos) -> Option<GoodputReport> {
    let study = GoodputStudy::of(scenario, step)?;
    study.finish(study.modes().filter_map(|mode| study.play(mode)).collect())
}

impl ModeReport {
    /// The hops of whole checkpoints with the name of the part of the way that they belong to: `blocking`, `background`,
    /// `read` after a node was lost, and `read_here` after a failure of software, where that is another way.
    pub fn hops(&self) -> impl Iterator<Item = (&'static str, &Hop)> {
        let Paths { blocking, background, read, read_here } = &self.paths;
        let here: &[Hop] = if read == read_here { &[] } else { read_here };
        let parts: [(&'static str, &[Hop]); 4] =
            [("blocking", blocking), ("background", background), ("read", read), ("read_here", here)];
        parts.into_iter().flat_map(|(part, hops)| hops.iter().map(move |hop| (part, hop)))
    }
}

impl GoodputReport {
    /// The chosen way.
    pub fn own(&self) -> Option<&ModeReport> {
        self.modes.iter().find(|mode| mode.mode == self.mode)
    }

    /// Time of the steps between two checkpoints of the chosen interval.
    pub fn interval_time(&self) -> Nanos {
        Nanos(self.step.0.saturating_mul(i64::from(self.chosen.interval)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{check, preset_file};

    fn report(name: &str) -> GoodputReport {
        let scenario = check(&preset_file(name).expect("a preset")).expect("a scenario");
        goodput(&scenario, Nanos(9_000_000_000)).expect("a long run")
    }

    #[test]
    fn what_goes_to_drives_holds_up_as_long_as_they_take_and_increments_less() {
        let report = report("checkpoint-levels-512");
        let own = report.own().expect("the chosen way");
        let time = |from: &str| own.hops().find(|(_, hop)| hop.from.name() == from).map(|(_, hop)| hop.time);
        // One whole of ten, and nine increments of a fifth.
        let mean = |whole: Nanos| whole.secs() * (1.0 + 9.0 * 0.2) / 10.0;
        let [blocking, stored] = [time("host"), time("drives")].map(|time| time.expect("a hop"));
        assert!((own.blocking.secs() / mean(blocking) - 1.0).abs() < 1e-6);
        assert!((own.background.secs() / mean(stored) - 1.0).abs() < 1e-6);
        let names: Vec<_> = own.hops().map(|(part, hop)| (part, hop.from.name(), hop.to.name())).collect();
        assert!(names.contains(&("read_here", "drives", "host")) && names.contains(&("read", "storage", "host")));
    }

    #[test]
    fn drives_beat_storage_that_holds_up_steps() {
        let report = report("checkpoint-levels-512");
        let best = |mode| {
            let of_mode = report.modes.iter().find(|found| found.mode == mode).expect("a way");
            of_mode.best.time.goodput()
        };
        assert!(best(CheckpointMode::MultiLevel) > best(CheckpointMode::Sharded) + 0.01);
        assert!(best(CheckpointMode::Sharded) > best(CheckpointMode::Full));
    }
}
