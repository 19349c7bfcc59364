//! Decides every strategy of a space: by its constraints, by its bounds, or by simulating it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::bounds::{Bounds, bounds};
use super::probe::{Cut, Probe};
use super::space::Space;
use super::ways::simulated;
use crate::cluster::Cluster;
use crate::model::Model;
use crate::scenario::{Data, Scenario, ScenarioError, ScenarioFile, Strategy, check, check_strategy};
use crate::units::{Bytes, Nanos};

/// What is looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// The fastest steps.
    #[default]
    Time,
    /// All steps that no other beats in time, memory and devices at once.
    Pareto,
}

/// How a space is searched.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is looked for.
    pub goal: Goal,
    /// How many of the fastest are wanted, each of which does something else.
    pub count: usize,
    /// Whether steps that need more memory than a device has count.
    pub may_overflow: bool,
    /// Threads.
    pub workers: usize,
    /// Whether bounds prune; without, everything that fits is simulated.
    pub prune: bool,
    /// At most so many simulations, spread evenly over what bounds leave; 0 for no limit.
    pub samples: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { goal: Goal::Time, count: 10, may_overflow: false, workers: 1, prune: true, samples: 0 }
    }
}

/// A simulated strategy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Its number in the space.
    pub index: u64,
    /// Simulated.
    pub step_time: Nanos,
    /// Peak of the stage that needs the most.
    pub memory: Bytes,
    /// What a process holds beside tensors.
    #[serde(default)]
    pub beside: Bytes,
    /// Devices that it uses.
    pub devices: u32,
    /// Model FLOPs utilisation.
    pub mfu: f64,
    /// Over all devices.
    pub tokens_per_s: f64,
}

/// How strategies were decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Refused, by the field whose constraint failed.
    pub invalid: BTreeMap<String, u64>,
    /// Their weights and activations alone do not fit.
    pub too_large: u64,
    /// Their lower bound is above what was found.
    pub pruned: u64,
    /// Simulated; they may turn out too large.
    pub simulated: u64,
    /// They do the same as one that was simulated.
    pub alike: u64,
}

impl Counts {
    /// All of them.
    pub fn decided(&self) -> u64 {
        self.invalid.values().sum::<u64>() + self.too_large + self.pruned + self.simulated + self.alike
    }
}

/// How far a search is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Strategies decided.
    pub decided: u64,
    /// Strategies in the space.
    pub of: u64,
    /// Of them simulated.
    pub simulated: u64,
    /// The fastest so far.
    pub best: Option<Nanos>,
}

/// What was simulated so far: enough to go on later.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// The combinations that were searched, as a check.
    pub combinations: u64,
    /// Every simulated strategy.
    pub simulated: Vec<Found>,
}

/// The result of a search.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The best first: the fastest, or the Pareto front by time.
    pub found: Vec<Found>,
    /// How strategies were decided.
    pub counts: Counts,
    /// Whether all were, or the search was stopped before.
    pub complete: bool,
    /// To go on from.
    #[serde(skip)]
    pub saved: Saved,
}

/// A strategy that constraints and memory leave.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    index: u64,
    bounds: Bounds,
    devices: u32,
}

/// Strategies that a thread decides before it says how far it is.
const BATCH: u64 = 4096;

/// Searches `space`. `progress` returns whether to go on.
///
/// The result does not depend on the number of threads: what is pruned is never among the best.
pub fn search(space: &Space, options: &Options, saved: Saved, progress: &(dyn Fn(Progress) -> bool + Sync)) -> Outcome {
    let search = Search::new(space, options, saved, progress);
    search.on_threads(|| search.bound_all());
    let mut candidates = std::mem::take(&mut *lock(&search.candidates));
    candidates.sort_by_key(|c| (c.bounds.time, c.bounds.memory, c.index));
    search.sample(&mut candidates);
    search.next.store(0, Ordering::Relaxed);
    search.on_threads(|| search.simulate_all(&candidates));
    search.finish()
}

/// The lower bounds of one scenario.
///
/// # Errors
/// When the scenario is not valid.
pub fn bounds_of(file: &ScenarioFile) -> Result<Bounds, ScenarioError> {
    let base = base(file)?;
    let strategy = check_strategy(file, &base.model, &base.cluster, &base.data)?;
    Ok(bounds(&Probe::of(file, &base.model, &strategy)?, &strategy))
}

struct Search<'a> {
    space: &'a Space,
    options: &'a Options,
    progress: &'a (dyn Fn(Progress) -> bool + Sync),
    bases: Vec<Result<Base, ScenarioError>>,
    probes: Mutex<BTreeMap<Cut, Option<Arc<Probe>>>>,
    candidates: Mutex<Vec<Candidate>>,
    known: BTreeMap<u64, Found>,
    /// Simulated so far: the first of those that do the same.
    found: Mutex<BTreeMap<Doing, Found>>,
    counts: Mutex<Counts>,
    next: AtomicU64,
    stopped: AtomicBool,
}

/// What strategies have in common that do the same: base and canonical strategy. Many differ only in fields that have no
/// effect.
type Doing = (usize, String);

/// What all strategies of a base share.
struct Base {
    file: ScenarioFile,
    model: Model,
    cluster: Cluster,
    data: Data,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Search<'a> {
    fn new(
        space: &'a Space,
        options: &'a Options,
        saved: Saved,
        progress: &'a (dyn Fn(Progress) -> bool + Sync),
    ) -> Self {
        let known = if saved.combinations == space.len() { saved.simulated } else { Vec::new() };
        Self {
            space,
            options,
            progress,
            bases: space.bases().iter().map(base).collect(),
            probes: Mutex::default(),
            candidates: Mutex::default(),
            known: known.into_iter().map(|found| (found.index, found)).collect(),
            found: Mutex::default(),
            counts: Mutex::default(),
            next: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        }
    }

    fn on_threads(&self, work: impl Fn() + Sync) {
        if self.options.workers <= 1 {
            work();
            return;
        }
        std::thread::scope(|scope| {
            for _ in 0..self.options.workers {
                scope.spawn(&work);
            }
        });
    }

    /// Decides by constraints and memory, batch by batch.
    fn bound_all(&self) {
        let mut probes: BTreeMap<Cut, Option<Arc<Probe>>> = BTreeMap::new();
        let mut file = None;
        while !self.stopped.load(Ordering::Relaxed) {
            let first = self.next.fetch_add(BATCH, Ordering::Relaxed);
            if first >= self.space.len() {
                return;
            }
            let (mut counts, mut candidates) = (Counts::default(), Vec::new());
            for index in first..(first + BATCH).min(self.space.len()) {
                self.bound(index, &mut file, &mut probes, &mut counts, &mut candidates);
            }
            lock(&self.candidates).extend(candidates);
            self.count(&counts);
            self.tell();
        }
    }

    fn bound(
        &self,
        index: u64,
        file: &mut Option<(usize, ScenarioFile)>,
        probes: &mut BTreeMap<Cut, Option<Arc<Probe>>>,
        counts: &mut Counts,
        candidates: &mut Vec<Candidate>,
    ) {
        let number = self.space.base_of(index);
        let mut invalid = |path: &str| *counts.invalid.entry(path.to_owned()).or_default() += 1;
        let base = match &self.bases[number] {
            Ok(base) => base,
            Err(error) => return invalid(&path_of(error)),
        };
        if file.as_ref().is_none_or(|(known, _)| *known != number) {
            *file = Some((number, base.file.clone()));
        }
        let Some((_, file)) = file else { return };
        self.space.set_strategy(index, &mut file.strategy);
        let strategy = match check_strategy(file, &base.model, &base.cluster, &base.data) {
            Ok(strategy) => strategy,
            Err(error) => return invalid(&path_of(&error)),
        };
        let cut = Cut::of(number, &strategy);
        let probe = match probes.get(&cut) {
            Some(probe) => probe.clone(),
            None => {
                let probe = self.probe(cut.clone(), file, base, &strategy);
                probes.insert(cut, probe.clone());
                probe
            }
        };
        // What cannot be probed is simulated.
        let mut bounds = probe.map_or(Bounds { time: Nanos::ZERO, memory: Bytes::ZERO }, |p| bounds(&p, &strategy));
        if file.cluster.exceptions.iter().any(|exception| exception.device.is_some()) {
            // Another device may be faster than the one that was probed.
            bounds.time = Nanos::ZERO;
        }
        if bounds.memory > base.cluster.least_memory_for_tensors() && !self.options.may_overflow {
            counts.too_large += 1;
        } else {
            candidates.push(Candidate { index, bounds, devices: strategy.mesh().ranks() });
        }
    }

    /// The probe of a cut, measured once for all threads.
    fn probe(&self, cut: Cut, file: &ScenarioFile, base: &Base, strategy: &Strategy) -> Option<Arc<Probe>> {
        if let Some(known) = lock(&self.probes).get(&cut) {
            return known.clone();
        }
        let probe = Probe::of(file, &base.model, strategy).ok().map(Arc::new);
        lock(&self.probes).insert(cut, probe.clone());
        probe
    }

    /// Keeps as many candidates as may be simulated, evenly from fast to slow bounds.
    fn sample(&self, candidates: &mut Vec<Candidate>) {
        let most = self.options.samples as usize;
        if most == 0 || candidates.len() <= most {
            return;
        }
        let n = candidates.len();
        let kept: Vec<Candidate> = (0..most).map(|i| candidates[i * n / most]).collect();
        self.count(&Counts { pruned: (n - most) as u64, ..Counts::default() });
        *candidates = kept;
    }

    /// Simulates from the lowest bound on, and leaves out what cannot be among the best any more.
    fn simulate_all(&self, candidates: &[Candidate]) {
        while !self.stopped.load(Ordering::Relaxed) {
            let place = usize::try_from(self.next.fetch_add(1, Ordering::Relaxed)).unwrap_or(usize::MAX);
            let Some(candidate) = candidates.get(place) else { return };
            let one = if self.options.prune && self.beaten(candidate) {
                Counts { pruned: 1, ..Counts::default() }
            } else {
                match self.simulate(candidate.index) {
                    Ok(true) => Counts { simulated: 1, ..Counts::default() },
                    Ok(false) => Counts { alike: 1, ..Counts::default() },
                    Err(error) => Counts { invalid: BTreeMap::from([(path_of(&error), 1)]), ..Counts::default() },
                }
            };
            self.count(&one);
            if one.pruned == 0 || place % 256 == 0 {
                self.tell();
            }
        }
    }

    /// Whether what was found is better than the candidate can be.
    fn beaten(&self, candidate: &Candidate) -> bool {
        let found = lock(&self.found);
        let usable = found.values().filter(|found| self.fits(found));
        match self.options.goal {
            Goal::Time => {
                usable.filter(|found| found.step_time < candidate.bounds.time).count() >= self.options.count.max(1)
            }
            Goal::Pareto => usable.into_iter().any(|found| {
                found.step_time < candidate.bounds.time
                    && found.memory <= candidate.bounds.memory
                    && found.devices <= candidate.devices
            }),
        }
    }

    fn fits(&self, found: &Found) -> bool {
        let base = self.bases[self.space.base_of(found.index)].as_ref();
        self.options.may_overflow || base.is_ok_and(|base| found.memory + found.beside <= base.cluster.least_memory())
    }

    /// Simulates a strategy, unless one that does the same was; returns whether it did.
    fn simulate(&self, index: u64) -> Result<bool, ScenarioError> {
        let scenario = check(&self.space.file(index))?;
        let doing = (self.space.base_of(index), format!("{:?}", scenario.strategy().canonical()));
        if let Some(known) = lock(&self.found).get_mut(&doing) {
            known.index = known.index.min(index);
            return Ok(false);
        }
        let found = self.known.get(&index).cloned().unwrap_or_else(|| found(index, &scenario));
        let mut all = lock(&self.found);
        let first = all.get(&doing).map_or(index, |other| other.index.min(index));
        all.insert(doing, Found { index: first, ..found });
        Ok(true)
    }

    fn count(&self, more: &Counts) {
        let mut counts = lock(&self.counts);
        for (path, n) in &more.invalid {
            *counts.invalid.entry(path.clone()).or_default() += n;
        }
        counts.too_large += more.too_large;
        counts.pruned += more.pruned;
        counts.simulated += more.simulated;
        counts.alike += more.alike;
    }

    fn tell(&self) {
        let best = lock(&self.found).values().filter(|found| self.fits(found)).map(|found| found.step_time).min();
        let counts = lock(&self.counts);
        let progress = Progress { decided: counts.decided(), of: self.space.len(), simulated: counts.simulated, best };
        drop(counts);
        if !(self.progress)(progress) {
            self.stopped.store(true, Ordering::Relaxed);
        }
    }

    fn finish(self) -> Outcome {
        let mut simulated: Vec<Found> = std::mem::take(&mut *lock(&self.found)).into_values().collect();
        simulated.sort_by_key(|found| (found.step_time, found.memory, found.index));
        let counts = lock(&self.counts).clone();
        let usable: Vec<Found> = simulated.iter().filter(|found| self.fits(found)).cloned().collect();
        let found = match self.options.goal {
            Goal::Time => usable.into_iter().take(self.options.count).collect(),
            Goal::Pareto => front(&usable),
        };
        let complete = !self.stopped.load(Ordering::Relaxed);
        Outcome { found, counts, complete, saved: Saved { combinations: self.space.len(), simulated } }
    }
}

fn found(index: u64, scenario: &Scenario) -> Found {
    let (_, report) = simulated(scenario);
    Found {
        index,
        step_time: report.mean_step_time,
        memory: report.fit.needed,
        beside: report.fit.beside.total(),
        devices: scenario.mesh().ranks(),
        mfu: report.mfu,
        tokens_per_s: report.tokens_per_s,
    }
}

/// Those that no other beats: sorted by time, each needs less memory or fewer devices than all before.
fn front(sorted: &[Found]) -> Vec<Found> {
    let mut front: Vec<Found> = Vec::new();
    for found in sorted {
        if !front.iter().any(|better| better.memory <= found.memory && better.devices <= found.devices) {
            front.push(found.clone());
        }
    }
    front
}

fn base(file: &ScenarioFile) -> Result<Base, ScenarioError> {
    let parts = crate::scenario::check_parts(file)?;
    Ok(Base { file: file.clone(), model: parts.0, cluster: parts.1, data: parts.2 })
}

/// The field whose constraint failed.
fn path_of(error: &ScenarioError) -> String {
    match error {
        ScenarioError::Invalid { path, .. } => (*path).to_owned(),
        ScenarioError::WrongType { path, .. } => path.clone(),
        _ => "scenario".to_owned(),
    }
}
