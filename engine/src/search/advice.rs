//! What to change: every change of one thing that makes a step faster, simulated, the best first.

use std::collections::VecDeque;

use serde::Serialize;
use serde_json::Value;

use super::ways::{Edit, Way, changed, edit, tried};
use crate::scenario::{
    AttentionKernel, GradientFormat, Kernels, Precision, Recompute, Scenario, ScenarioError, ScenarioFile,
    ScheduleName, check,
};
use crate::units::Bytes;

/// What a change does to what is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Nothing: the same sums, in another order at most.
    Same,
    /// Numbers are rounded otherwise.
    Rounding,
}

impl Effect {
    /// Its key.
    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Rounding => "rounding",
        }
    }
}

/// A change that was simulated, and what it gains.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Advice {
    /// The changed scenario and what it takes.
    pub way: Way,
    /// How much more is trained in the same time: 0.1 for a tenth more.
    pub gain: f64,
    /// What it needs more of memory; less where it is negative.
    pub memory: i64,
    /// What it does to what is learned.
    pub effect: Effect,
}

/// The least gain that is worth a line.
const LEAST: f64 = 0.002;
/// Changes that are tried on top of each other, at most.
const TOGETHER: usize = 8;

/// The search for changes, one simulation after the other: single changes first, then the best of them together.
#[derive(Clone, Debug)]
pub struct AdviceSearch {
    file: ScenarioFile,
    scenario: Scenario,
    now: Way,
    left: VecDeque<Vec<Edit>>,
    found: Vec<Advice>,
    together: Option<Advice>,
    /// What is still to be tried on top of `together`.
    climb: Option<VecDeque<Vec<Edit>>>,
    tried: usize,
}

impl AdviceSearch {
    /// A search around a scenario.
    ///
    /// # Errors
    /// When it is not valid.
    pub fn new(file: &ScenarioFile) -> Result<Self, ScenarioError> {
        let scenario = check(file)?;
        let now = tried(&scenario, Vec::new());
        let left = candidates(&scenario, file).into();
        let file = file.clone();
        Ok(Self { file, scenario, now, left, found: Vec::new(), together: None, climb: None, tried: 0 })
    }

    /// The scenario as it is.
    pub fn now(&self) -> &Way {
        &self.now
    }

    /// The changes found so far that make it faster and fit; where it does not fit as it is, all that make it fit.
    pub fn found(&self) -> &[Advice] {
        &self.found
    }

    /// The best of them together, where that is better than each alone.
    pub fn together(&self) -> Option<&Advice> {
        let is_single = |all: &Advice| self.found.iter().any(|one| one.way.edits == all.way.edits);
        self.together.as_ref().filter(|all| !is_single(all))
    }

    /// The share that is done, about.
    pub fn share(&self) -> f32 {
        let climb = self.climb.as_ref().map_or(TOGETHER, VecDeque::len);
        self.tried as f32 / (self.tried + self.left.len() + climb).max(1) as f32
    }

    /// Tries the next change; false when there is none.
    pub fn advance(&mut self) -> bool {
        if let Some(edits) = self.left.pop_front() {
            self.tried += 1;
            if let Some(advice) = self.simulated(edits).filter(|advice| !self.knows(advice)) {
                self.found.push(advice);
                self.found.sort_by(|a, b| b.gain.total_cmp(&a.gain));
            }
            return true;
        }
        if self.climb.is_none() {
            // What rounds otherwise is for people to decide, so it is not mixed into the rest.
            let mut same = self.found.iter().filter(|advice| advice.effect == Effect::Same);
            self.together = same.next().cloned();
            self.climb = Some(same.take(TOGETHER).map(|advice| advice.way.edits.clone()).collect());
        }
        let Some(edits) = self.climb.as_mut().and_then(VecDeque::pop_front) else { return false };
        self.tried += 1;
        self.add_to_all(&edits);
        true
    }

    /// Whether another change was found to do the very same.
    fn knows(&self, advice: &Advice) -> bool {
        let figures = |way: &Way| (way.step_time, way.peak, way.reserved);
        self.found.iter().any(|other| figures(&other.way) == figures(&advice.way))
    }

    /// Puts a change on top of what was taken already, where they touch different fields and it gains more.
    fn add_to_all(&mut self, edits: &[Edit]) {
        let Some(all) = &self.together else { return };
        let taken = |edit: &Edit| all.way.edits.iter().any(|other| other.path == edit.path);
        if edits.iter().any(taken) {
            return;
        }
        let (both, least) = ([all.way.edits.as_slice(), edits].concat(), all.gain + LEAST);
        if let Some(better) = self.simulated(both).filter(|advice| advice.gain > least) {
            self.together = Some(better);
        }
    }

    /// A change, simulated; none where the scenario does not allow it, it changes nothing, or it does not help.
    fn simulated(&self, edits: Vec<Edit>) -> Option<Advice> {
        let other = changed(&self.file, &edits).and_then(|file| check(&file).ok())?;
        let alike = self.scenario.strategy().canonical() == other.strategy().canonical()
            && self.scenario.data() == other.data();
        if alike {
            return None;
        }
        let effect = effect(&edits);
        let way = tried(&other, edits);
        let gain = way.per_s / self.now.per_s.max(1e-12) - 1.0;
        let helps = way.fits && (gain >= LEAST || !self.now.fits);
        helps.then(|| Advice { memory: difference(way.peak, self.now.peak), gain, effect, way })
    }
}

fn difference(a: Bytes, b: Bytes) -> i64 {
    let signed = |bytes: Bytes| i64::try_from(bytes.0).unwrap_or(i64::MAX);
    signed(a) - signed(b)
}

/// Fields that say how numbers are rounded.
const ROUNDING: [&str; 4] =
    ["strategy.precision", "strategy.gradient_format", "strategy.attention", "strategy.compress_activations"];

fn effect(edits: &[Edit]) -> Effect {
    let rounds = edits.iter().any(|edit| ROUNDING.contains(&edit.path.as_str()));
    if rounds { Effect::Rounding } else { Effect::Same }
}

/// The changes that are worth a try.
fn candidates(scenario: &Scenario, file: &ScenarioFile) -> Vec<Vec<Edit>> {
    let mut list = Vec::new();
    mesh(scenario, &mut list);
    pipeline(scenario, file, &mut list);
    overlap(scenario, &mut list);
    kernels(scenario, &mut list);
    memory(scenario, &mut list);
    input(scenario, file, &mut list);
    list
}

fn one(list: &mut Vec<Vec<Edit>>, path: &str, value: impl Into<Value>) {
    list.push(vec![edit(path, value)]);
}

/// A half and the double of `n`, and half and double of these.
fn around(n: u32) -> impl Iterator<Item = u32> {
    [n / 4, n / 2, n.saturating_mul(2), n.saturating_mul(4)].into_iter().filter(|n| *n > 0)
}

fn mesh(scenario: &Scenario, list: &mut Vec<Vec<Edit>>) {
    let (s, cluster) = (scenario.strategy(), scenario.cluster());
    for n in around(s.tensor_parallel).filter(|n| *n <= cluster.devices_per_node) {
        list.push(vec![edit("strategy.tensor_parallel", n), edit("strategy.sequence_parallel", n > 1)]);
    }
    for n in around(s.pipeline_parallel).filter(|n| *n <= scenario.model().layers) {
        one(list, "strategy.pipeline_parallel", n);
    }
    for n in around(s.context_parallel).filter(|n| s.context_parallel > 1 || *n == 2) {
        one(list, "strategy.context_parallel", n);
    }
    if scenario.model().mixture.is_some() {
        around(s.expert_parallel).for_each(|n| one(list, "strategy.expert_parallel", n));
    }
    around(s.micro_batch).for_each(|n| one(list, "strategy.micro_batch", n));
    if s.tensor_parallel > 1 {
        one(list, "strategy.sequence_parallel", true);
    }
}

fn pipeline(scenario: &Scenario, file: &ScenarioFile, list: &mut Vec<Vec<Edit>>) {
    let s = scenario.strategy();
    if s.pipeline_parallel == 1 {
        return;
    }
    for name in
        [ScheduleName::OneFOneB, ScheduleName::ZeroBubbleH1, ScheduleName::ZeroBubbleH2, ScheduleName::ZeroBubbleV]
            .into_iter()
            .filter(|name| *name != s.schedule.name())
    {
        // A number of chunks that is written down belongs to the schedule that it was written for.
        let chunks = file.strategy.virtual_stages.map(|_| edit("strategy.virtual_stages", Value::Null));
        list.push([edit("strategy.schedule", name.name())].into_iter().chain(chunks).collect());
    }
    for chunks in [2, 4, 8] {
        let interleaved = edit("strategy.schedule", ScheduleName::Interleaved.name());
        list.push(vec![interleaved, edit("strategy.virtual_stages", chunks)]);
    }
    one(list, "strategy.overlap_micro_batches", true);
}

fn overlap(scenario: &Scenario, list: &mut Vec<Vec<Edit>>) {
    let s = scenario.strategy();
    for chunks in [2, 4] {
        one(list, "strategy.tensor_chunks", chunks);
    }
    one(list, "strategy.keep_gathered", true);
    one(list, "strategy.overlap_gradients", true);
    one(list, "strategy.overlap_parameters", true);
    for size in ["25 MB", "100 MB", "400 MB"] {
        one(list, "strategy.bucket", size);
    }
    (0..=3).filter(|zero| *zero != s.zero as u32).for_each(|zero| one(list, "strategy.zero_stage", zero));
    one(list, "strategy.prefetch", 2);
    one(list, "strategy.reshard_after_forward", false);
    let nodes = scenario.cluster().devices_per_node;
    one(list, "strategy.sharding_group", nodes);
    one(list, "strategy.expert_dispatch", "once_per_node");
}

fn kernels(scenario: &Scenario, list: &mut Vec<Vec<Edit>>) {
    let s = scenario.strategy();
    one(list, "strategy.cuda_graphs", true);
    if s.kernels != Kernels::Fused {
        one(list, "strategy.kernels", "fused");
    }
    if s.attention != AttentionKernel::Flash {
        one(list, "strategy.attention", "flash");
    }
    let device = &scenario.cluster().device;
    if device.bf16_matmul.0 > device.fp32_matmul.0 && matches!(s.precision, Precision::Fp32 | Precision::Tf32) {
        one(list, "strategy.precision", Precision::Bf16.name());
    }
    if device.fp8_matmul.0 > device.bf16_matmul.0 && matches!(s.precision, Precision::Bf16 | Precision::Fp16) {
        one(list, "strategy.precision", Precision::Fp8.name());
    }
    if s.gradient_format != GradientFormat::Compute {
        one(list, "strategy.gradient_format", "compute");
    }
}

fn memory(scenario: &Scenario, list: &mut Vec<Vec<Edit>>) {
    let s = scenario.strategy();
    for how in ["none", "selective", "full"].into_iter().filter(|how| *how != s.recompute.name()) {
        one(list, "strategy.recompute", how);
    }
    if s.recompute != Recompute::None {
        list.push(super::ways::cheap_parts());
    }
    if s.offload_activations > 0 {
        one(list, "strategy.offload_activations", 0);
    }
    if s.compress_activations {
        one(list, "strategy.compress_activations", false);
    }
    if s.offload_optimizer.name() != "device" {
        one(list, "strategy.offload_optimizer", "device");
    }
    if s.offload_parameters.name() != "device" {
        one(list, "strategy.offload_parameters", "device");
    }
}

/// What reads faster, where samples are described.
fn input(scenario: &Scenario, file: &ScenarioFile, list: &mut Vec<Vec<Edit>>) {
    let Some(input) = &scenario.data().input else { return };
    for workers in around(input.loader.workers).filter(|n| *n > input.loader.workers) {
        one(list, "data.loader.workers", workers);
    }
    one(list, "data.loader.prefetch", input.loader.prefetch.saturating_mul(2).max(2));
    if let Some(cache) = file.data.cache.as_ref().and_then(|cache| cache.capacity) {
        one(list, "data.cache.capacity", format!("{} B", cache.0.saturating_mul(2)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::preset_file;

    fn searched(file: &ScenarioFile) -> AdviceSearch {
        let mut search = AdviceSearch::new(file).expect("valid");
        while search.advance() {}
        search
    }

    #[test]
    fn what_is_advised_keeps_its_promise() {
        let file = preset_file("llama2-7b-8xh100").expect("a preset");
        let search = searched(&file);
        assert!(search.found().len() > 3, "{:?}", search.found());
        for advice in search.found().iter().chain(search.together()) {
            let other = changed(&file, &advice.way.edits).expect("it is a scenario");
            let way = tried(&check(&other).expect("valid"), advice.way.edits.clone());
            assert_eq!(way, advice.way);
            assert!(way.fits && way.per_s > search.now().per_s, "{advice:?}");
        }
        let (best, all) = (&search.found()[0], search.together().expect("several help"));
        let same = search.found().iter().find(|advice| advice.effect == Effect::Same).expect("some keep the sums");
        assert!(all.gain > same.gain && all.effect == Effect::Same, "{best:?} {all:?}");
    }

    #[test]
    fn what_does_not_fit_is_advised_to_fit() {
        let search = searched(&preset_file("oom-13b").expect("a preset"));
        assert!(!search.now().fits);
        assert!(!search.found().is_empty() && search.found().iter().all(|advice| advice.way.fits));
    }

    #[test]
    fn a_stall_is_advised_to_read_faster() {
        let search = searched(&preset_file("data-bound-vision").expect("a preset"));
        let reads = |advice: &&Advice| advice.way.edits.iter().any(|edit| edit.path.starts_with("data."));
        assert!(search.found().iter().any(|advice| reads(&advice)), "{:?}", search.found());
    }
}
