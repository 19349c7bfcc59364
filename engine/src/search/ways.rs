//! Changes of a scenario that make it fit into its devices' memory, each simulated.

use std::collections::VecDeque;

use serde::Serialize;
use serde_json::Value;

use super::space::{follow_mesh, with};
use crate::analysis::{DeviceMemory, StepReport, fits, step_report};
use crate::graph::{StepGraph, lower};
use crate::scenario::{AllocatorName, Scenario, ScenarioError, ScenarioFile, check};
use crate::sim::simulate;
use crate::units::{Bytes, Nanos};

/// A field and its new value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Edit {
    /// Its path, for example `strategy.recompute`.
    pub path: String,
    /// The value.
    pub value: Value,
}

impl std::fmt::Display for Edit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} = {}", self.path, self.value)
    }
}

/// A changed scenario and what it takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Way {
    /// What is changed; nothing for the scenario as it is.
    pub edits: Vec<Edit>,
    /// Whether it fits.
    pub fits: bool,
    /// The most that tensors need at once on the fullest stage.
    pub peak: Bytes,
    /// What the allocator takes of the device there.
    pub reserved: Bytes,
    /// What a rank keeps outside its device.
    pub outside: Bytes,
    /// The step, with what an allocator pages to the host and back.
    pub step_time: Nanos,
    /// Tokens, images or samples of the step over its time.
    pub per_s: f64,
}

/// What was tried to make a scenario fit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ways {
    /// As it is.
    pub now: Way,
    /// What fits, the fastest first.
    pub fitting: Vec<Way>,
    /// What does not, what needs the least first.
    pub others: Vec<Way>,
}

impl Ways {
    /// The fastest ways that fit and differ in kind: no two change the same fields.
    pub fn best(&self, count: usize) -> Vec<&Way> {
        let mut best: Vec<&Way> = Vec::new();
        let shares = |a: &Way, b: &Way| a.edits.iter().any(|edit| b.edits.iter().any(|other| other.path == edit.path));
        for way in &self.fitting {
            if best.len() < count && !best.iter().any(|other| shares(other, way)) {
                best.push(way);
            }
        }
        best
    }
}

/// Ways that are combined where single changes do not suffice.
const COMBINED: usize = 8;

/// A search for changes, one trial after the other: changes one by one, then pairs of those that help most where fewer than
/// the wanted kinds of them suffice.
#[derive(Clone, Debug)]
pub struct WaySearch {
    file: ScenarioFile,
    /// What the file says, as it is.
    now: Scenario,
    wanted: usize,
    ways: Ways,
    left: VecDeque<Vec<Edit>>,
    tried: usize,
    paired: bool,
}

impl WaySearch {
    /// A search around a scenario.
    ///
    /// # Errors
    /// When it is not valid.
    pub fn new(file: &ScenarioFile, wanted: usize) -> Result<Self, ScenarioError> {
        let scenario = check(file)?;
        let ways = Ways { now: tried(&scenario, Vec::new()), fitting: Vec::new(), others: Vec::new() };
        let left = singles(&scenario).into();
        Ok(Self { file: file.clone(), now: scenario, wanted, ways, left, tried: 0, paired: false })
    }

    /// Tries the next change; false when there is none.
    pub fn advance(&mut self) -> bool {
        if self.left.is_empty() && !self.paired {
            self.paired = true;
            let helpful: Vec<Vec<Edit>> = self.ways.helpful().into_iter().take(COMBINED).collect();
            self.left = pairs(&helpful).into();
        }
        if self.paired && self.ways.best(self.wanted).len() >= self.wanted {
            return false;
        }
        let Some(edits) = self.left.pop_front() else { return false };
        self.tried += 1;
        if let Some(scenario) = self.other(&edits) {
            self.ways.add(tried(&scenario, edits));
        }
        true
    }

    /// The scenario with some changes, where it allows them and they change anything.
    fn other(&self, edits: &[Edit]) -> Option<Scenario> {
        let scenario = changed(&self.file, edits).and_then(|file| check(&file).ok())?;
        let alike = self.now.strategy().canonical() == scenario.strategy().canonical()
            && self.now.run().allocator == scenario.run().allocator;
        (!alike).then_some(scenario)
    }

    /// The share of the changes that are known by now which was tried.
    pub fn share(&self) -> f32 {
        self.tried as f32 / (self.tried + self.left.len()).max(1) as f32
    }

    /// What was found.
    pub fn found(&self) -> &Ways {
        &self.ways
    }
}

/// The whole search. `progress` is told the share that is done and returns whether to go on; what was found until then is
/// kept.
///
/// # Errors
/// When the scenario itself is not valid.
pub fn ways_to_fit(
    file: &ScenarioFile,
    wanted: usize,
    progress: &mut dyn FnMut(f32) -> bool,
) -> Result<Ways, ScenarioError> {
    let mut search = WaySearch::new(file, wanted)?;
    while progress(search.share()) && search.advance() {}
    Ok(search.ways)
}

impl Ways {
    /// Sorts in what was tried.
    fn add(&mut self, way: Way) {
        // Where it fits already, only what takes less is a change worth showing.
        if self.now.fits && way.reserved >= self.now.reserved {
            return;
        }
        if way.fits {
            self.fitting.push(way);
            self.fitting.sort_by(|a, b| b.per_s.total_cmp(&a.per_s).then(a.reserved.cmp(&b.reserved)));
        } else {
            self.others.push(way);
            self.others.sort_by(|a, b| a.peak.cmp(&b.peak).then(b.per_s.total_cmp(&a.per_s)));
        }
    }

    /// What needs less than the scenario as it is, the best first.
    fn helpful(&self) -> Vec<Vec<Edit>> {
        let less = self.others.iter().filter(|way| way.peak < self.now.peak || way.reserved < self.now.reserved);
        less.map(|way| way.edits.clone()).collect()
    }
}

/// Pairs of changes of different fields, those of the most helpful first.
fn pairs(helpful: &[Vec<Edit>]) -> Vec<Vec<Edit>> {
    let mut pairs = Vec::new();
    for last in 1..helpful.len() {
        for first in 0..last {
            let (a, b) = (&helpful[first], &helpful[last]);
            if a.iter().all(|edit| b.iter().all(|other| other.path != edit.path)) {
                pairs.push([a.as_slice(), b.as_slice()].concat());
            }
        }
    }
    pairs
}

/// The file with some changes; where the mesh changes, what follows it follows.
pub fn changed(file: &ScenarioFile, edits: &[Edit]) -> Option<ScenarioFile> {
    let mut changed = file.clone();
    if edits.iter().any(|edit| edit.path.ends_with("_parallel") && edit.path != "strategy.sequence_parallel") {
        follow_mesh(&mut changed.strategy);
        changed.strategy.stage_layers.clear();
    }
    for edit in edits {
        changed = with(&changed, &edit.path, &edit.value).ok()?;
    }
    Some(changed)
}

/// The step of a scenario, simulated.
pub(super) fn simulated(scenario: &Scenario) -> (StepGraph, StepReport) {
    let step = lower(scenario);
    let report = step_report(&step, scenario, &simulate(&step, scenario));
    (step, report)
}

pub(super) fn tried(scenario: &Scenario, edits: Vec<Edit>) -> Way {
    let (step, report) = simulated(scenario);
    way(&step, scenario, &report, edits)
}

fn way(step: &StepGraph, scenario: &Scenario, report: &StepReport, edits: Vec<Edit>) -> Way {
    let (fits, reserved, copying) = fits(step, scenario, scenario.run().allocator);
    // What pages in and out is not hidden by what is computed: at the most it is all added.
    let paged = |per_s: f64| per_s * report.mean_step_time.secs() / (report.mean_step_time + copying).secs().max(1e-12);
    Way {
        edits,
        fits,
        peak: report.fit.needed,
        reserved,
        outside: report.outside,
        step_time: report.mean_step_time + copying,
        per_s: paged(if scenario.data().sequence_length > 1 { report.tokens_per_s } else { report.samples_per_s }),
    }
}

/// The changes that are worth a try: less is kept, more is shared, or something waits elsewhere.
fn singles(scenario: &Scenario) -> Vec<Vec<Edit>> {
    let s = scenario.strategy();
    let mut list: Vec<Vec<Edit>> = Vec::new();
    let mut one = |path: &str, value: Value| list.push(vec![edit(path, value)]);
    for allocator in [AllocatorName::Expandable, AllocatorName::Offsets] {
        one("run.allocator", allocator.name().into());
    }
    one("strategy.recompute", "full".into());
    for smaller in (0..12).map(|power| s.micro_batch >> power).skip(1).take_while(|&n| n > 0) {
        one("strategy.micro_batch", smaller.into());
    }
    for zero in (s.zero as u32 + 1)..=3 {
        one("strategy.zero_stage", zero.into());
    }
    let more = |now: u32, most: u32| (1..8).map(move |power| now << power).take_while(move |&n| n <= most);
    for n in more(s.tensor_parallel, scenario.cluster().devices_per_node) {
        one("strategy.tensor_parallel", n.into());
    }
    for n in more(s.pipeline_parallel, scenario.model().layers.min(scenario.cluster().devices())) {
        one("strategy.pipeline_parallel", n.into());
    }
    for n in more(s.context_parallel, scenario.cluster().devices_per_node) {
        one("strategy.context_parallel", n.into());
    }
    one("strategy.sequence_parallel", true.into());
    one("strategy.offload_optimizer", "host".into());
    let layers = s.stage_layers.iter().copied().max().unwrap_or(0);
    let mut offloaded = [4, 2, 1].map(|part| layers.div_ceil(part)).to_vec();
    offloaded.dedup();
    for layers in offloaded {
        one("strategy.offload_activations", layers.into());
    }
    one("strategy.compress_activations", true.into());
    one("strategy.gradient_format", "compute".into());
    one("strategy.optimizer", "adam_8bit".into());
    let room = least_room(scenario);
    list.extend([0.97, 0.93, 0.88].map(|share| by_budget(room, share)));
    list.push(cheap_parts());
    list
}

pub(super) fn edit(path: &str, value: impl Into<Value>) -> Edit {
    Edit { path: path.to_owned(), value: value.into() }
}

/// What the fullest device has left for tensors.
fn least_room(scenario: &Scenario) -> Bytes {
    let step = lower(scenario);
    let stages = 0..u32::try_from(step.stages.len()).unwrap_or(0);
    stages.map(|stage| DeviceMemory::of(&step, scenario, stage).room()).min().unwrap_or_default()
}

/// As little again as the device allows: a share of what is left of it for tensors, the rest lies between them.
fn by_budget(room: Bytes, share: f64) -> Vec<Edit> {
    let budget = room.as_f64() * share / 1e9;
    vec![edit("strategy.recompute", "budget"), edit("strategy.recompute_budget", format!("{budget:.2} GB"))]
}

/// What is quick to compute and large to keep.
pub(super) fn cheap_parts() -> Vec<Edit> {
    vec![
        edit("strategy.recompute", "selective"),
        edit("strategy.recompute_modules", serde_json::json!(["norm", "activation"])),
    ]
}

/// A way of treating activations between forward and backward.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Treatment {
    /// What it is called: `keep`, `selective`, `full`, `budget`, `offload` or `compress`.
    pub name: &'static str,
    /// The scenario with it.
    pub way: Way,
    /// Activations of the fullest stage when it is fullest.
    pub activations: Bytes,
    /// FLOPs of matrix products that are repeated, over those of the model.
    pub repeated: f64,
}

/// Every way of treating activations, with all else as it is, one after the other: each as it is asked for. Those that the
/// scenario does not allow are left out.
///
/// # Errors
/// When the scenario itself is not valid.
pub fn treatments(file: &ScenarioFile) -> Result<impl Iterator<Item = Treatment>, ScenarioError> {
    let (scenario, file) = (check(file)?, file.clone());
    Ok(ways_to_treat(&scenario).into_iter().filter_map(move |(name, edits)| {
        let scenario = changed(&file, &edits).and_then(|file| check(&file).ok())?;
        Some(treated(name, &scenario, edits))
    }))
}

fn ways_to_treat(scenario: &Scenario) -> Vec<(&'static str, Vec<Edit>)> {
    let layers = scenario.strategy().stage_layers.iter().copied().max().unwrap_or(0);
    let kept = || vec![edit("strategy.offload_activations", 0), edit("strategy.compress_activations", false)];
    let again = |how: &str| [kept(), vec![edit("strategy.recompute", how)]].concat();
    let with = |path: &str, value: Value| {
        let others = again("none").into_iter().filter(|edit| edit.path != path);
        others.chain([edit(path, value)]).collect::<Vec<Edit>>()
    };
    vec![
        ("keep", again("none")),
        ("selective", [kept(), cheap_parts()].concat()),
        ("full", again("full")),
        ("budget", [kept(), by_budget(least_room(scenario), 0.93)].concat()),
        ("offload", with("strategy.offload_activations", layers.into())),
        ("compress", with("strategy.compress_activations", true.into())),
    ]
}

fn treated(name: &'static str, scenario: &Scenario, edits: Vec<Edit>) -> Treatment {
    let (step, report) = simulated(scenario);
    let fullest = report.peak_memory.iter().rev().max_by_key(|peak| peak.total);
    Treatment {
        name,
        activations: fullest.map_or(Bytes::ZERO, |peak| peak.used.activations),
        repeated: report.hfu / report.mfu.max(1e-12) - 1.0,
        way: way(&step, scenario, &report, edits),
    }
}
