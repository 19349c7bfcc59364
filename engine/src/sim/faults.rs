//! A job over weeks: steps, checkpoints, failures, and coming back from them.
//!
//! Time is cut into the spans between failures, which come by a Poisson process; within one, steps and checkpoints are
//! counted, not played, so months of a cluster take microseconds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use serde::Serialize;

use super::draw::unit;
use crate::units::Nanos;

/// A job, its checkpoints and what may happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Job {
    /// A step.
    pub step: Nanos,
    /// Steps from a checkpoint to the next.
    pub interval: u32,
    /// What a whole checkpoint takes.
    pub whole: Taking,
    /// What an increment takes.
    pub increment: Taking,
    /// Of so many checkpoints the first is whole, and the others are increments.
    pub round: u32,
    /// Whether what was written while the steps waited can be read after a failure of software.
    pub survives: bool,
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

/// What a checkpoint takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Taking {
    /// How long it holds up the steps.
    pub blocking: Nanos,
    /// How long it takes after that until it can be read wherever it is needed.
    pub background: Nanos,
    /// How long it takes to read it where a node was lost.
    pub read: Nanos,
    /// How long it takes to read it after a failure of software.
    pub read_here: Nanos,
}

/// Where a run is when it fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reached {
    /// Work in the last checkpoint that is there; none where there is none since the run went on.
    work: Option<Nanos>,
    /// Increments that are read after the last whole checkpoint.
    increments: u32,
}

impl Job {
    /// What the checkpoint with a number in its round takes.
    fn taking(&self, number: u32) -> &Taking {
        if number == 0 { &self.whole } else { &self.increment }
    }

    /// The mean of what the checkpoints of a round take.
    pub fn mean(&self, of: impl Fn(&Taking) -> Nanos) -> Nanos {
        let round = i64::from(self.round.max(1));
        Nanos((of(&self.whole) + of(&self.increment) * (round - 1)).0 / round)
    }

    /// What is read in the mean after a node was lost: a whole one, and as many increments as follow it.
    pub fn mean_read(&self) -> Nanos {
        let increments = self.increment.read.0.saturating_mul(i64::from(self.round.max(1)) - 1) / 2;
        Nanos(self.whole.read.0.saturating_add(increments))
    }

    /// How long steps go on before a checkpoint begins: it cannot before the last one is there.
    fn until(&self, number: u32) -> Nanos {
        let before = if number == 0 { self.round.max(1) - 1 } else { number - 1 };
        self.work().max(self.taking(before).background)
    }

    /// From the end of a checkpoint to the end of that with a number in its round.
    fn cycle(&self, number: u32) -> Nanos {
        self.until(number) + self.taking(number).blocking
    }

    /// All cycles of a round.
    fn rounds(&self) -> Nanos {
        // The first increment waits for the whole one before it, the others for increments.
        let first = if self.round > 1 { self.cycle(1) } else { Nanos::ZERO };
        let others = if self.round > 2 { self.cycle(2) * i64::from(self.round - 2) } else { Nanos::ZERO };
        (self.cycle(0) + first + others).max(Nanos(1))
    }

    /// Work that is done in a time of operation, and what of it is in checkpoints that are there: the first whole ones and
    /// increments whose `wait` after the steps went on is over.
    fn progress(&self, span: Nanos, wait: impl Fn(&Taking) -> Nanos) -> (Nanos, Reached) {
        let work = self.work();
        let round = self.round.max(1);
        let rounds = span.0 / self.rounds().0;
        let done = i64::from(round).saturating_mul(rounds);
        let mut reached = Reached::default();
        if rounds > 0 {
            // The last increment of the round before may not be there yet.
            let since = span - Nanos(self.rounds().0 * rounds);
            let there = wait(self.taking(round - 1)) <= since;
            let counted = done - i64::from(!there);
            reached.work = (counted > 0).then(|| work * counted);
            reached.increments = if there { round - 1 } else { round.saturating_sub(2) };
        }
        let mut left = Nanos(span.0 % self.rounds().0);
        let mut worked = work * done;
        for number in 0..round {
            worked += left.min(work);
            if left < self.cycle(number) {
                break;
            }
            left -= self.cycle(number);
            if wait(self.taking(number)) <= left {
                reached = Reached { work: Some(work * (done + i64::from(number) + 1)), increments: number };
            }
        }
        (worked, reached)
    }

    /// The steps from a checkpoint to the next, at most as long as sums of a few of them can be.
    fn work(&self) -> Nanos {
        Nanos(self.step.0.saturating_mul(i64::from(self.interval)).min(i64::MAX / 8))
    }
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
            failures: u32::try_from((i64::from(self.failures) + runs / 2) / runs).unwrap_or(u32::MAX),
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

/// Plays a job; the same for the same seed, on every platform. Failures come at the same times of operation and are of the
/// same kind whatever the checkpoints are.
pub fn play_job(job: &Job, seed: u64) -> JobTime {
    let back = (0..job.spares).map(|_| Reverse(Nanos::ZERO)).collect();
    let random = ChaCha8Rng::seed_from_u64(seed);
    let time = JobTime::default();
    let mut player =
        Player { job, random, next: Nanos::ZERO, time, back, at_risk: Nanos::ZERO, here: 0, everywhere: 0 };
    player.next = player.until_failure();
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
    /// Time of operation until the next failure.
    next: Nanos,
    time: JobTime,
    /// When each spare is ready: at once, or when it has been repaired.
    back: BinaryHeap<Reverse<Nanos>>,
    /// Work that counts, and would not had a node been lost.
    at_risk: Nanos,
    /// Increments that are read after a whole checkpoint: of what is there, and of what is there when a node is lost.
    here: u32,
    everywhere: u32,
}

/// What is lost and has to be replaced before a job goes on.
#[derive(Default)]
struct Missing {
    nodes: u32,
    /// Whether what a node alone had is lost with it.
    state: bool,
    /// What is left of putting spares in their places.
    replacing: Nanos,
}

impl Player<'_> {
    fn now(&self) -> Nanos {
        self.time.total()
    }

    fn left(&self) -> Nanos {
        (self.job.horizon - self.now()).max(Nanos::ZERO)
    }

    /// Time of operation from one failure to the next.
    fn until_failure(&mut self) -> Nanos {
        let (rate, unit) = (self.job.hardware + self.job.software, unit(&mut self.random));
        if rate > 0.0 { Nanos::from_secs(-libm::log(1.0 - unit) / rate).max(Nanos(1)) } else { Nanos(i64::MAX) }
    }

    /// Steps and checkpoints until a failure, or until the end; whether there was a failure.
    fn run(&mut self) -> bool {
        let (left, job) = (self.left(), self.job);
        let (span, failed) = if self.next < left { (self.next, true) } else { (left, false) };
        let (worked, everywhere) = job.progress(span, |taking| taking.background);
        let (_, here) = job.progress(span, |taking| if job.survives { Nanos::ZERO } else { taking.background });
        self.time.checkpoints += span - worked;
        let counted = if failed { here.work.unwrap_or_default() } else { worked };
        self.time.useful += counted;
        self.time.lost += worked - counted;
        if here.work.is_some() {
            self.here = here.increments;
        }
        match everywhere.work {
            Some(work) => (self.at_risk, self.everywhere) = (counted - work, everywhere.increments),
            None => self.at_risk += counted,
        }
        self.next -= span;
        failed
    }

    /// Comes back, again and again where failures come meanwhile.
    fn recover(&mut self) {
        let mut missing = Missing::default();
        loop {
            self.fail(&mut missing);
            if self.come_back(&mut missing) {
                return;
            }
        }
    }

    /// A failure: of a node, or of software. With a node goes what was only there.
    fn fail(&mut self, missing: &mut Missing) {
        let share = self.job.hardware / (self.job.hardware + self.job.software).max(f64::MIN_POSITIVE);
        let is_node = unit(&mut self.random) < share;
        self.time.failures += 1;
        self.next = self.until_failure();
        if is_node {
            missing.nodes += 1;
            missing.state = true;
            self.time.useful -= self.at_risk;
            self.time.lost += self.at_risk;
            self.at_risk = Nanos::ZERO;
            self.here = self.everywhere;
        }
    }

    /// How long it takes to read what there is.
    fn reading(&self, missing: &Missing) -> Nanos {
        let job = self.job;
        let of = |taking: &Taking| if missing.state { taking.read } else { taking.read_here };
        let increments = of(&job.increment).0.saturating_mul(i64::from(self.here));
        Nanos(of(&job.whole).0.saturating_add(increments)).min(job.horizon)
    }

    /// Notices the failure, replaces nodes, starts again and reads the checkpoint; false where another failure comes
    /// before all is done.
    fn come_back(&mut self, missing: &mut Missing) -> bool {
        let job = self.job;
        if self.spend(job.detect, |time| &mut time.down).is_some() {
            return false;
        }
        for _ in 0..std::mem::take(&mut missing.nodes) {
            self.take_spare();
            missing.replacing += job.replace;
        }
        if let Some(rest) = self.spend(missing.replacing, |time| &mut time.down) {
            missing.replacing = rest;
            return false;
        }
        missing.replacing = Nanos::ZERO;
        self.spend(job.restart, |time| &mut time.down).is_none()
            && self.spend(self.reading(missing), |time| &mut time.reading).is_none()
    }

    /// Takes the spare that is ready first, and waits for it where there is none; the node that failed is repaired. Nodes
    /// do not fail while the job waits.
    fn take_spare(&mut self) {
        let now = self.now();
        self.back.push(Reverse(now + self.job.repair));
        let ready = self.back.pop().map_or(now, |Reverse(ready)| ready);
        self.time.waiting += (ready - now).clamp(Nanos::ZERO, self.left());
    }

    /// Spends time; what is left of it where the next failure comes before. The end of the horizon ends all.
    fn spend(&mut self, time: Nanos, on: impl Fn(&mut JobTime) -> &mut Nanos) -> Option<Nanos> {
        let time = time.min(self.left());
        let spent = time.min(self.next);
        *on(&mut self.time) += spent;
        self.next -= spent;
        (spent < time).then(|| time - spent)
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
            whole: taking(30, 0, 60),
            increment: taking(30, 0, 60),
            round: 1,
            survives: false,
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

    /// What takes so many seconds.
    fn taking(blocking: i64, background: i64, read: i64) -> Taking {
        let [blocking, background, read] = [blocking, background, read].map(|seconds| Nanos(seconds * S));
        Taking { blocking, background, read, read_here: read }
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
        let slow = Job { whole: taking(30, 500, 60), ..job() };
        let (fast, slow) = (mean(&job()), mean(&slow));
        assert!(slow.lost > fast.lost && slow.checkpoints <= fast.checkpoints);
        // What takes longer than the interval holds up the next.
        let slowest = Job { whole: taking(30, 1260, 60), hardware: 0.0, software: 0.0, ..job() };
        assert!((play_job(&slowest, 1).goodput() - 600.0 / 1290.0).abs() < 1e-3);
    }

    #[test]
    fn failures_are_the_same_whatever_the_checkpoints_are() {
        // Where nothing waits for nodes; what is at the end of the horizon may differ by one.
        let slow = Job { whole: taking(5, 0, 600), interval: 7, ..job() };
        for seed in 0..5 {
            let [one, other] = [play_job(&job(), seed), play_job(&slow, seed)].map(|time| time.failures);
            assert!(one.abs_diff(other) <= 1, "{one} and {other}");
        }
    }

    #[test]
    fn what_is_interrupted_is_still_to_do() {
        // A node takes ten hours to replace, and software fails every hour.
        let hours = |n: i64| Nanos(n * 3600 * S);
        let slow = Job { replace: hours(10), hardware: 1.0 / 360_000.0, software: 1.0 / 3600.0, ..job() };
        let time = mean(&slow);
        let replaced = 20.0 * 90.0 * 86_400.0 / 360_000.0 * 36_000.0;
        assert!(time.down.secs() > 0.9 * replaced, "{} of {replaced} s", time.down);
    }

    #[test]
    fn numbers_at_the_limits_are_answered() {
        let long = taking(3650 * 86_400, 3650 * 86_400, 3650 * 86_400);
        for interval in [1, 1_000_000] {
            let edge = Job { interval, step: Nanos(100_000_000 * S), whole: long, increment: long, ..job() };
            for round in [1, 100] {
                assert_eq!(play_job(&Job { round, ..edge }, 1).total(), edge.horizon);
            }
        }
        let none =
            Job { step: Nanos(1), interval: 1, whole: taking(0, 0, 60), spares: 0, repair: Nanos::ZERO, ..job() };
        assert_eq!(play_job(&none, 1).total(), none.horizon);
    }

    #[test]
    fn without_spares_a_job_waits_for_repairs() {
        let none = mean(&Job { spares: 0, ..job() });
        let some = mean(&Job { spares: 20, ..job() });
        assert!(none.waiting > some.waiting && none.goodput() < some.goodput());
        assert_eq!(play_job(&job(), 5), play_job(&job(), 5));
        assert_ne!(play_job(&job(), 5), play_job(&job(), 6));
    }

    #[test]
    fn increments_hold_up_less_and_are_all_read() {
        let quiet = Job { hardware: 0.0, software: 0.0, ..job() };
        let of = |round: u32, job: Job| Job { increment: taking(6, 0, 12), round, ..job };
        // A round of ten: 6000 s of steps, 30 s and nine times 6 s of checkpoints.
        let goodput = play_job(&of(10, quiet), 1).goodput();
        assert!((goodput - 6000.0 / 6084.0).abs() < 1e-4, "{goodput}");
        let (whole, some) = (mean(&of(1, job())), mean(&of(10, job())));
        assert!(some.checkpoints < whole.checkpoints && some.reading > whole.reading, "{some:?}");
        // Of a round that ends anywhere four and a half increments are read in the mean, fewer where failures come often.
        let rare = Job { hardware: 1.0 / 400_000.0, software: 0.0, horizon: Nanos(3650 * 86_400 * S), ..of(10, job()) };
        let time = mean(&rare);
        let each = time.reading.secs() / f64::from(time.failures);
        assert!((each - (60.0 + 4.5 * 12.0)).abs() < 4.0, "{each}");
    }

    #[test]
    fn more_increments_of_next_to_nothing_never_cost() {
        // A whole one takes longer in the background than the steps between two.
        let of = |round| {
            let job = Job { whole: taking(1, 3000, 60), increment: taking(0, 1, 0), round, ..job() };
            play_job(&Job { hardware: 0.0, software: 0.0, ..job }, 1).goodput()
        };
        let goodputs = [1, 2, 3, 10, 100].map(of);
        assert!(goodputs.is_sorted(), "{goodputs:?}");
        // One of a hundred intervals of 600 s is 3000 s long.
        assert!((goodputs[4] - 60_000.0 / 62_401.0).abs() < 1e-3, "{goodputs:?}");
    }

    #[test]
    fn what_nodes_keep_serves_failures_of_software_and_not_of_nodes() {
        let slow = Taking { read_here: Nanos(5 * S), ..taking(30, 580, 60) };
        let of = |survives, hardware, software| {
            mean(&Job { whole: slow, increment: slow, survives, hardware, software, ..job() })
        };
        let rate = 1.0 / 8000.0;
        let (nodes, storage) = (of(true, rate, 0.0), of(false, rate, 0.0));
        assert_eq!((nodes.lost, nodes.reading), (storage.lost, storage.reading), "drives are lost with a node");
        let (drives, storage) = (of(true, 0.0, rate), of(false, 0.0, rate));
        assert!(drives.lost.secs() < 0.6 * storage.lost.secs(), "{} {}", drives.lost, storage.lost);
        let both = of(true, rate / 2.0, rate / 2.0);
        assert!(drives.lost < both.lost && both.lost < nodes.lost);
    }
}
