//! A job over weeks: steps, checkpoints, failures, and coming back from them.
//!
//! Time is cut into the spans between failures, which come by a Poisson process; within one, steps and checkpoints are
//! counted, not played, so months of a cluster take microseconds.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use serde::Serialize;

use crate::units::Nanos;

/// A job, its checkpoints and what may happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Job {
    /// A step.
    pub step: Nanos,
    /// Steps from a checkpoint to the next.
    pub interval: u32,
    /// How long a checkpoint holds up the steps.
    pub blocking: Nanos,
    /// How long it takes after that until it can be read back.
    pub background: Nanos,
    /// How long it takes to read it back.
    pub read: Nanos,
    /// Failures per second that take a node away.
    pub hardware: f64,
    /// Failures per second that do not.
    pub software: f64,
    /// Until a failure is noticed.
    pub detect: Nanos,
    /// Until a spare node is in the place of another.
    pub replace: Nanos,
    /// Until all processes have started again.
    pub restart: Nanos,
    /// Until a node that failed is a spare.
    pub repair: Nanos,
    /// Spare nodes.
    pub spares: u32,
    /// How long the cluster is looked at.
    pub horizon: Nanos,
}

/// Where the time of a job goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JobTime {
    /// Steps that count.
    pub useful: Nanos,
    /// Held up by checkpoints.
    pub checkpoints: Nanos,
    /// Steps that were lost with a failure.
    pub lost: Nanos,
    /// Noticing failures, replacing nodes, starting again.
    pub down: Nanos,
    /// Reading checkpoints.
    pub reading: Nanos,
    /// Waiting for a node, with no spare left.
    pub waiting: Nanos,
    /// Failures.
    pub failures: u32,
}

impl JobTime {
    /// All of it.
    pub fn total(&self) -> Nanos {
        self.useful + self.checkpoints + self.lost + self.down + self.reading + self.waiting
    }

    /// The mean of so many runs, of which this is the sum.
    #[must_use]
    pub fn mean(self, runs: u64) -> Self {
        let runs = i64::try_from(runs).unwrap_or(i64::MAX).max(1);
        let of = |time: Nanos| Nanos(time.0 / runs);
        Self {
            useful: of(self.useful),
            checkpoints: of(self.checkpoints),
            lost: of(self.lost),
            down: of(self.down),
            reading: of(self.reading),
            waiting: of(self.waiting),
            failures: u32::try_from(i64::from(self.failures) / runs).unwrap_or(u32::MAX),
        }
    }

    /// The share of steps that count: goodput.
    pub fn goodput(&self) -> f64 {
        self.useful.secs() / self.total().secs().max(1e-12)
    }

    /// The parts with their names, in the order in which they are stacked.
    pub fn parts(&self) -> [(&'static str, Nanos); 6] {
        [
            ("useful", self.useful),
            ("checkpoints", self.checkpoints),
            ("lost", self.lost),
            ("down", self.down),
            ("reading", self.reading),
            ("waiting", self.waiting),
        ]
    }
}

impl std::ops::AddAssign for JobTime {
    fn add_assign(&mut self, other: Self) {
        self.useful += other.useful;
        self.checkpoints += other.checkpoints;
        self.lost += other.lost;
        self.down += other.down;
        self.reading += other.reading;
        self.waiting += other.waiting;
        self.failures += other.failures;
    }
}

/// Plays a job; the same for the same seed, on every platform.
pub fn play_job(job: &Job, seed: u64) -> JobTime {
    let back = vec![Nanos::ZERO; job.spares as usize];
    let mut player = Player { job, random: ChaCha8Rng::seed_from_u64(seed), time: JobTime::default(), back };
    while player.left() > Nanos::ZERO {
        if player.run() {
            player.recover();
        }
    }
    player.time
}

struct Player<'a> {
    job: &'a Job,
    random: ChaCha8Rng,
    time: JobTime,
    /// When each spare is ready: at once, or when it has been repaired.
    back: Vec<Nanos>,
}

impl Player<'_> {
    fn now(&self) -> Nanos {
        self.time.total()
    }

    fn left(&self) -> Nanos {
        self.job.horizon - self.now()
    }

    /// Until the next failure.
    fn next_failure(&mut self) -> Nanos {
        let rate = self.job.hardware + self.job.software;
        if rate <= 0.0 {
            return Nanos(i64::MAX);
        }
        Nanos::from_secs(-libm::log(1.0 - self.unit()) / rate).max(Nanos(1))
    }

    /// Steps and checkpoints until a failure, or until the end; whether there was a failure.
    fn run(&mut self) -> bool {
        let (left, failure) = (self.left(), self.next_failure());
        let (span, failed) = if failure < left { (failure, true) } else { (left, false) };
        let work = self.job.step * i64::from(self.job.interval);
        // The next checkpoint cannot begin before the last one is there.
        let cycle = (work + self.job.blocking).max(self.job.background).max(Nanos(1));
        let whole = span.0 / cycle.0;
        let rest = Nanos(span.0 % cycle.0);
        let worked = work * whole + rest.min(work);
        self.time.checkpoints += span - worked;
        let durable = if failed { self.durable(span, cycle, work) } else { worked };
        self.time.useful += durable;
        self.time.lost += worked - durable;
        self.time.failures += u32::from(failed);
        failed
    }

    /// The work in the last checkpoint that was there in time.
    fn durable(&self, span: Nanos, cycle: Nanos, work: Nanos) -> Nanos {
        // The first is there when a cycle and its background are over.
        let first = work + self.job.blocking + self.job.background;
        if span < first { Nanos::ZERO } else { work * ((span - first).0 / cycle.0 + 1) }
    }

    /// Comes back, again and again where failures come meanwhile.
    fn recover(&mut self) {
        let mut missing = 0_u32;
        loop {
            missing += u32::from(self.loses_node());
            let mut next = self.next_failure();
            if self.come_back(&mut missing, &mut next) {
                return;
            }
        }
    }

    /// Notices the failure, replaces nodes, starts again and reads the checkpoint; false where another failure comes
    /// before all is done.
    fn come_back(&mut self, missing: &mut u32, next: &mut Nanos) -> bool {
        let job = self.job;
        if !self.spend(job.detect, next, |time| &mut time.down) {
            return false;
        }
        while *missing > 0 {
            *missing -= 1;
            self.take_spare();
            if !self.spend(job.replace, next, |time| &mut time.down) {
                return false;
            }
        }
        self.spend(job.restart, next, |time| &mut time.down) && self.spend(job.read, next, |time| &mut time.reading)
    }

    /// Whether a failure takes a node away.
    fn loses_node(&mut self) -> bool {
        let share = self.job.hardware / (self.job.hardware + self.job.software).max(f64::MIN_POSITIVE);
        self.unit() < share
    }

    /// A number from 0 to below 1.
    fn unit(&mut self) -> f64 {
        (self.random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Takes the spare that is ready first, and waits for it where there is none; the node that failed is repaired. Nodes
    /// do not fail while the job waits.
    fn take_spare(&mut self) {
        let now = self.now();
        self.back.push(now + self.job.repair);
        let first = self.back.iter().copied().enumerate().min_by_key(|&(_, at)| at);
        let Some((place, ready)) = first else { return };
        self.back.swap_remove(place);
        self.time.waiting += (ready - now).clamp(Nanos::ZERO, self.left().max(Nanos::ZERO));
    }

    /// Spends time unless the next failure, or the end, comes before; false where a failure does.
    fn spend(&mut self, time: Nanos, next: &mut Nanos, on: impl Fn(&mut JobTime) -> &mut Nanos) -> bool {
        let time = time.min(self.left().max(Nanos::ZERO));
        let spent = time.min(*next);
        *on(&mut self.time) += spent;
        let comes = *next < time;
        *next -= spent;
        if comes {
            self.time.failures += 1;
        }
        !comes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    fn job() -> Job {
        Job {
            step: Nanos(10 * S),
            interval: 60,
            blocking: Nanos(30 * S),
            background: Nanos::ZERO,
            read: Nanos(60 * S),
            hardware: 1.0 / 10_000.0,
            software: 1.0 / 40_000.0,
            detect: Nanos(30 * S),
            replace: Nanos(120 * S),
            restart: Nanos(300 * S),
            repair: Nanos(86_400 * S),
            spares: 1000,
            horizon: Nanos(90 * 86_400 * S),
        }
    }

    fn mean(job: &Job) -> JobTime {
        let mut sum = JobTime::default();
        for seed in 0..20 {
            let one = play_job(job, seed);
            assert_eq!(one.total(), job.horizon, "no time is lost, and none is found");
            sum += one;
        }
        sum
    }

    #[test]
    fn without_failures_only_checkpoints_cost() {
        let quiet = Job { hardware: 0.0, software: 0.0, ..job() };
        let time = play_job(&quiet, 1);
        assert_eq!((time.failures, time.lost, time.down), (0, Nanos::ZERO, Nanos::ZERO));
        assert!((time.goodput() - 600.0 / 630.0).abs() < 1e-4, "{}", time.goodput());
    }

    #[test]
    fn failures_come_as_often_as_said() {
        let time = mean(&job());
        let expected = 20.0 * 90.0 * 86_400.0 * (1.0 / 10_000.0 + 1.0 / 40_000.0);
        assert!((f64::from(time.failures) / expected - 1.0).abs() < 0.03, "{} of {expected}", time.failures);
        assert_eq!(time.waiting, Nanos::ZERO);
    }

    #[test]
    fn what_is_lost_is_what_daly_expects() {
        // Daly 2006, equation 13: with exponential failures and M the mean time between them, work of T takes
        // M e^(R/M) (e^((τ+δ)/M) − 1) T/τ. Detecting, replacing and restarting are part of R here.
        let software = Job { hardware: 0.0, software: 1.0 / 5_000.0, ..job() };
        let (m, tau, delta) = (5_000.0_f64, 600.0, 30.0);
        let recover: f64 = 30.0 + 300.0 + 60.0;
        let expected = tau / (m * (recover / m).exp() * (((tau + delta) / m).exp() - 1.0));
        let found = mean(&software).goodput();
        assert!((found / expected - 1.0).abs() < 0.01, "{found} and {expected}");
    }

    #[test]
    fn a_checkpoint_counts_when_it_can_be_read() {
        let slow = Job { background: Nanos(500 * S), ..job() };
        let (fast, slow) = (mean(&job()), mean(&slow));
        assert!(slow.lost > fast.lost && slow.checkpoints <= fast.checkpoints);
        // What takes longer than the interval holds up the next.
        let slowest = Job { background: Nanos(1260 * S), hardware: 0.0, software: 0.0, ..job() };
        assert!((play_job(&slowest, 1).goodput() - 600.0 / 1260.0).abs() < 1e-3);
    }

    #[test]
    fn without_spares_a_job_waits_for_repairs() {
        let none = mean(&Job { spares: 0, ..job() });
        let some = mean(&Job { spares: 20, ..job() });
        assert!(none.waiting > some.waiting && none.goodput() < some.goodput());
        assert_eq!(play_job(&job(), 5), play_job(&job(), 5));
        assert_ne!(play_job(&job(), 5), play_job(&job(), 6));
    }
}
