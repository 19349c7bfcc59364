//! Scenarios side by side: which settings differ, and which of them does what.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::ways::simulated;
use crate::scenario::{ScenarioFile, check};
use crate::units::Nanos;

/// A setting in which scenarios differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// Its path, for example `strategy.tensor_parallel`.
    pub path: String,
    /// Its value in each scenario; null where it is left out, and so has its default.
    pub values: Vec<Value>,
}

/// What says nothing about a run.
const WORDS: [&str; 3] = ["name", "description", "$schema"];

/// All settings in which scenarios differ, in the order of their paths.
pub fn differing_settings(files: &[&ScenarioFile]) -> Vec<Setting> {
    let leaves: Vec<BTreeMap<String, Value>> = files.iter().map(|file| leaves_of(file)).collect();
    let mut paths: Vec<&String> = leaves.iter().flat_map(BTreeMap::keys).collect();
    paths.sort_unstable();
    paths.dedup();
    let setting = |path: &String| {
        let values: Vec<Value> = leaves.iter().map(|of| of.get(path).cloned().unwrap_or(Value::Null)).collect();
        let differ = values.iter().any(|value| *value != values[0]);
        differ.then(|| Setting { path: path.clone(), values })
    };
    paths.into_iter().filter_map(setting).collect()
}

fn leaves_of(file: &ScenarioFile) -> BTreeMap<String, Value> {
    let mut leaves = BTreeMap::new();
    let Ok(Value::Object(tree)) = serde_json::to_value(file) else { return leaves };
    for (key, value) in tree.into_iter().filter(|(key, _)| !WORDS.contains(&key.as_str())) {
        collect(key, value, &mut leaves);
    }
    leaves
}

fn collect(path: String, value: Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(tree) => tree.into_iter().for_each(|(key, value)| collect(format!("{path}.{key}"), value, into)),
        Value::Null => {}
        leaf => {
            into.insert(path, leaf);
        }
    }
}

/// What one setting, or several that are valid only together, does to the difference of two runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cause {
    /// The settings: path, value of the baseline, value of the variant.
    pub settings: Vec<(String, Value, Value)>,
    /// Its share of the difference in step time; all shares add up to it.
    pub time: Nanos,
    /// Its share of the difference in peak memory, in bytes.
    pub memory: i64,
    /// The difference that it makes alone, where that is a valid scenario.
    pub alone: Option<Nanos>,
}

/// Why two runs differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attribution {
    /// The largest share of time first.
    pub causes: Vec<Cause>,
    /// Step time of the variant less that of the baseline.
    pub time: Nanos,
    /// The same of the peak memory, in bytes.
    pub memory: i64,
    /// Scenarios that were simulated.
    pub simulated: usize,
    /// Whether every order of the settings was averaged (Shapley 1953), or only two of them.
    pub exact: bool,
}

/// Settings of which every order is tried: 2⁵ scenarios.
const EVERY_ORDER: usize = 5;
/// Settings that are told apart; with more, those of a section count as one.
const APART: usize = 12;

/// The figures that are attributed.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Figures {
    time: i64,
    memory: i64,
}

/// The attribution as it is worked out, one simulation after the other.
#[derive(Debug)]
pub struct AttributionSearch {
    groups: Vec<Vec<Setting>>,
    baseline: Value,
    /// What was simulated, by the set of settings that are the variant's; none where they are not valid together.
    known: BTreeMap<u32, Option<Figures>>,
    /// What was found, once all is known that it takes.
    found: Option<Option<Attribution>>,
}

/// A set of settings whose figures are not known yet.
struct Unknown(u32);

impl AttributionSearch {
    /// From a baseline to a variant.
    pub fn new(baseline: &ScenarioFile, variant: &ScenarioFile) -> Self {
        let groups = grouped(differing_settings(&[baseline, variant]));
        let baseline = serde_json::to_value(baseline).unwrap_or_default();
        Self { groups, baseline, known: BTreeMap::new(), found: None }
    }

    /// The share that is done, about.
    pub fn share(&self) -> f32 {
        let count = self.groups.len();
        let sets = if count <= EVERY_ORDER { 1 << count } else { 3 * count };
        if self.found.is_some() { 1.0 } else { self.known.len() as f32 / (self.known.len().max(sets) as f32) }
    }

    /// Simulates the next mix of settings; false when all is known.
    pub fn advance(&mut self) -> bool {
        if self.found.is_some() {
            return false;
        }
        match self.attributed() {
            Ok(found) => {
                self.found = Some(found);
                false
            }
            Err(Unknown(set)) => {
                let figures = self.mixed(set).and_then(|file| figures_of(&file));
                self.known.insert(set, figures);
                true
            }
        }
    }

    /// The baseline with some of the variant's settings.
    fn mixed(&self, set: u32) -> Option<ScenarioFile> {
        let mut tree = self.baseline.clone();
        for (_, group) in self.groups.iter().enumerate().filter(|(bit, _)| set & (1 << bit) != 0) {
            group.iter().for_each(|setting| put(&mut tree, &setting.path, &setting.values[1]));
        }
        serde_json::from_value(tree).ok()
    }

    fn figures(&self, set: u32) -> Result<Option<Figures>, Unknown> {
        self.known.get(&set).copied().ok_or(Unknown(set))
    }

    /// What was found; none before all is known, and where one of the two runs is not valid.
    pub fn attribution(&self) -> Option<&Attribution> {
        self.found.as_ref()?.as_ref()
    }

    fn attributed(&self) -> Result<Option<Attribution>, Unknown> {
        let count = self.groups.len();
        let all = (1_u32 << count) - 1;
        let (Some(from), Some(to)) = (self.figures(0)?, self.figures(all)?) else { return Ok(None) };
        let (orders, mut parts, mut alone) = (orders(count), Parts::new(count), Vec::new());
        for bit in 0..count {
            alone.push(self.figures(1 << bit)?.map(|figures| Nanos(figures.time - from.time)));
        }
        for order in &orders {
            self.walk(order, from, &mut parts)?;
        }
        let mut causes = parts.causes(&self.groups, orders.len(), &alone);
        let (time, memory) = (to.time - from.time, to.memory - from.memory);
        settle(&mut causes, time, memory);
        causes.sort_by(|a, b| b.time.0.abs().cmp(&a.time.0.abs()).then(b.memory.abs().cmp(&a.memory.abs())));
        let simulated = self.known.values().flatten().count();
        Ok(Some(Attribution { causes, time: Nanos(time), memory, simulated, exact: count <= EVERY_ORDER }))
    }

    /// Along one order: a setting that is not valid yet waits for one with which it is, and counts together with it.
    fn walk(&self, order: &[usize], from: Figures, parts: &mut Parts) -> Result<(), Unknown> {
        let (mut set, mut before, mut waiting) = (0_u32, from, Vec::new());
        for (place, &bit) in order.iter().enumerate() {
            let is_last = place + 1 == order.len();
            let Some((taken, after)) = self.valid(set, bit, &waiting, is_last)? else {
                waiting.push(bit);
                continue;
            };
            parts.add(&taken, after.time - before.time, after.memory - before.memory);
            set |= taken.iter().fold(0, |bits, bit| bits | 1 << bit);
            before = after;
            waiting.retain(|bit| !taken.contains(bit));
            // What is still not valid has to wait; in the end all that waits is valid together, as the variant is.
            if is_last && !waiting.is_empty() {
                let rest = waiting.iter().fold(set, |bits, bit| bits | 1 << bit);
                if let Some(after) = self.figures(rest)? {
                    parts.add(&waiting, after.time - before.time, after.memory - before.memory);
                }
            }
        }
        Ok(())
    }

    /// A setting alone on top of a set, or with one that waits, or with all that wait.
    fn valid(
        &self,
        set: u32,
        bit: usize,
        waiting: &[usize],
        is_last: bool,
    ) -> Result<Option<(Vec<usize>, Figures)>, Unknown> {
        let mut tries = vec![vec![bit]];
        tries.extend(waiting.iter().map(|&other| vec![other, bit]));
        if waiting.len() > 1 || is_last {
            tries.push(waiting.iter().copied().chain([bit]).collect());
        }
        for taken in tries {
            let bits = taken.iter().fold(set, |bits, bit| bits | 1 << bit);
            if let Some(figures) = self.figures(bits)? {
                return Ok(Some((taken, figures)));
            }
        }
        Ok(None)
    }
}

/// Shares by setting, summed over orders; settings that once counted together do so always.
struct Parts {
    /// For each setting the first that it counts together with.
    leader: Vec<usize>,
    time: Vec<i64>,
    memory: Vec<i64>,
}

impl Parts {
    fn new(count: usize) -> Self {
        Self { leader: (0..count).collect(), time: vec![0; count], memory: vec![0; count] }
    }

    fn add(&mut self, together: &[usize], time: i64, memory: i64) {
        let Some(&first) = together.first() else { return };
        self.time[first] += time;
        self.memory[first] += memory;
        for &other in together {
            let (a, b) = (self.leader[first], self.leader[other]);
            let least = a.min(b);
            self.leader.iter_mut().filter(|of| **of == a || **of == b).for_each(|of| *of = least);
        }
    }

    fn causes(&self, groups: &[Vec<Setting>], orders: usize, alone: &[Option<Nanos>]) -> Vec<Cause> {
        let n = i64::try_from(orders.max(1)).unwrap_or(i64::MAX);
        let leaders = (0..groups.len()).filter(|&bit| self.leader[bit] == bit);
        let cause = |leader: usize| {
            let members: Vec<usize> = (0..groups.len()).filter(|&bit| self.leader[bit] == leader).collect();
            let sum = |parts: &[i64]| members.iter().map(|&bit| parts[bit]).sum::<i64>() / n;
            let written = |s: &Setting| (s.path.clone(), s.values[0].clone(), s.values[1].clone());
            Cause {
                settings: members.iter().flat_map(|&bit| &groups[bit]).map(written).collect(),
                time: Nanos(sum(&self.time)),
                memory: sum(&self.memory),
                alone: if let [bit] = members[..] { alone[bit] } else { None },
            }
        };
        leaders.map(cause).collect()
    }
}

/// What division left over goes to the largest share, so that shares add up to the nanosecond and the byte.
fn settle(causes: &mut [Cause], time: i64, memory: i64) {
    let (rest_time, rest_memory) = (
        time - causes.iter().map(|cause| cause.time.0).sum::<i64>(),
        memory - causes.iter().map(|cause| cause.memory).sum::<i64>(),
    );
    if let Some(largest) = causes.iter_mut().max_by_key(|cause| cause.time.0.abs()) {
        largest.time.0 += rest_time;
    }
    if let Some(largest) = causes.iter_mut().max_by_key(|cause| cause.memory.abs()) {
        largest.memory += rest_memory;
    }
}

/// Settings that are told apart: each, or those of a section together where there are many.
fn grouped(settings: Vec<Setting>) -> Vec<Vec<Setting>> {
    if settings.len() <= APART {
        let (mesh, mut groups) = split_mesh(settings);
        groups.extend((!mesh.is_empty()).then_some(mesh));
        return groups;
    }
    let mut sections: BTreeMap<String, Vec<Setting>> = BTreeMap::new();
    for setting in settings {
        let section = setting.path.split('.').next().unwrap_or_default().to_owned();
        sections.entry(section).or_default().push(setting);
    }
    sections.into_values().collect()
}

/// Where the number of replicas is written down, it gives way to another axis of the mesh: alone, either would leave
/// devices idle or want more than there are, so such axes count together. All other settings are groups of their own.
fn split_mesh(settings: Vec<Setting>) -> (Vec<Setting>, Vec<Vec<Setting>>) {
    const AXES: [&str; 3] = ["tensor_parallel", "context_parallel", "pipeline_parallel"];
    let is_axis = |s: &Setting| s.path.strip_prefix("strategy.").is_some_and(|name| AXES.contains(&name));
    let is_replicas = |s: &Setting| s.path == "strategy.data_parallel";
    if !settings.iter().any(is_replicas) || !settings.iter().any(is_axis) {
        return (Vec::new(), settings.into_iter().map(|setting| vec![setting]).collect());
    }
    let (mesh, others): (Vec<_>, Vec<_>) = settings.into_iter().partition(|s| is_axis(s) || is_replicas(s));
    (mesh, others.into_iter().map(|setting| vec![setting]).collect())
}

/// The orders that are averaged: all of a few settings, forward and backward of many.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count > EVERY_ORDER {
        return vec![(0..count).collect(), (0..count).rev().collect()];
    }
    let mut orders = vec![Vec::new()];
    for next in 0..count {
        orders = orders
            .iter()
            .flat_map(|order: &Vec<usize>| {
                (0..=order.len()).map(move |place| {
                    let mut longer = order.clone();
                    longer.insert(place, next);
                    longer
                })
            })
            .collect();
    }
    orders
}

/// Writes a leaf of a tree, or takes it away where it is null.
fn put(tree: &mut Value, path: &str, value: &Value) {
    let (section, key) = path.rsplit_once('.').unwrap_or(("", path));
    let mut place = &mut *tree;
    for step in section.split('.').filter(|step| !step.is_empty()) {
        if !place[step].is_object() {
            place[step] = Value::Object(Map::new());
        }
        place = &mut place[step];
    }
    let Some(table) = place.as_object_mut() else { return };
    if value.is_null() {
        table.remove(key);
    } else {
        table.insert(key.to_owned(), value.clone());
    }
    prune(tree, section);
}

/// A section that has become empty is left out, as if it had never been written.
fn prune(tree: &mut Value, section: &str) {
    let Some((parent, key)) = section.rsplit_once('.').or((!section.is_empty()).then_some(("", section))) else {
        return;
    };
    let pointer: String = parent.split('.').filter(|step| !step.is_empty()).map(|step| format!("/{step}")).collect();
    let Some(table) = tree.pointer_mut(&pointer).and_then(Value::as_object_mut) else { return };
    if table.get(key).and_then(Value::as_object).is_some_and(Map::is_empty) {
        table.remove(key);
        prune(tree, parent);
    }
}

fn figures_of(file: &ScenarioFile) -> Option<Figures> {
    let (_, report) = simulated(&check(file).ok()?);
    let memory = i64::try_from(report.fit.needed.0).unwrap_or(i64::MAX);
    Some(Figures { time: report.mean_step_time.0, memory })
}

/// Why a variant differs from a baseline. `progress` is told the share that is done and returns whether to go on; none
/// when it was stopped, or one of the two is not valid.
pub fn attribution(
    baseline: &ScenarioFile,
    variant: &ScenarioFile,
    progress: &mut dyn FnMut(f32) -> bool,
) -> Option<Attribution> {
    let mut search = AttributionSearch::new(baseline, variant);
    while progress(search.share()) && search.advance() {}
    search.attribution().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Recompute, preset_file};

    fn base() -> ScenarioFile {
        preset_file("llama2-7b-8xh100").expect("a preset")
    }

    #[test]
    fn settings_that_differ_are_named_with_both_values() {
        let mut other = base();
        other.name = Some("another".to_owned());
        other.strategy.micro_batch *= 2;
        other.strategy.bucket = Some(crate::units::Bytes(50_000_000));
        let base = base();
        let settings = differing_settings(&[&base, &other]);
        let paths: Vec<&str> = settings.iter().map(|setting| setting.path.as_str()).collect();
        assert_eq!(paths, ["strategy.bucket", "strategy.micro_batch"]);
        assert_eq!(settings[0].values[0], Value::Null);
        assert_eq!(settings[1].values[1], 2 * base.strategy.micro_batch);
        assert!(differing_settings(&[&base, &base]).is_empty());
    }

    #[test]
    fn shares_add_up_to_the_difference() {
        let (from, mut to) = (base(), base());
        to.strategy.recompute = Recompute::Full;
        to.strategy.overlap_gradients = false;
        to.strategy.zero_stage = 2;
        let why = attribution(&from, &to, &mut |_| true).expect("both are valid");
        assert!(why.exact && why.causes.len() == 3, "{why:?}");
        let figures = [&from, &to].map(|file| figures_of(file).expect("valid"));
        assert_eq!(why.time.0, figures[1].time - figures[0].time);
        assert_eq!(why.causes.iter().map(|cause| cause.time.0).sum::<i64>(), why.time.0);
        assert_eq!(why.causes.iter().map(|cause| cause.memory).sum::<i64>(), why.memory);
        assert_eq!(why.causes[0].settings[0].0, "strategy.recompute", "it costs the most: {why:?}");
    }

    #[test]
    fn axes_that_share_the_devices_count_together() {
        // Four replicas of two devices became two of four: neither number alone fills the eight devices.
        let (mut from, mut to) = (base(), base());
        (from.strategy.data_parallel, from.strategy.tensor_parallel, from.strategy.pipeline_parallel) = (Some(4), 2, 1);
        (to.strategy.data_parallel, to.strategy.tensor_parallel, to.strategy.pipeline_parallel) = (Some(2), 4, 1);
        to.strategy.recompute = Recompute::Full;
        let why = attribution(&from, &to, &mut |_| true).expect("both are valid");
        let together = why.causes.iter().find(|cause| cause.settings.len() == 2).expect("the mesh is one cause");
        assert!(together.settings.iter().any(|(path, ..)| path == "strategy.tensor_parallel"));
        assert_eq!(why.causes.iter().map(|cause| cause.time.0).sum::<i64>(), why.time.0);
    }

    #[test]
    fn settings_that_are_only_valid_together_count_together() {
        // Layers of stages are those of the model: neither changes without the other.
        let (mut from, mut to) = (base(), base());
        (from.model.layers, from.strategy.stage_layers) = (Some(32), vec![16, 16]);
        (to.model.layers, to.strategy.stage_layers) = (Some(30), vec![14, 16]);
        to.strategy.recompute = Recompute::Full;
        let why = attribution(&from, &to, &mut |_| true).expect("both are valid");
        let paths = |cause: &Cause| cause.settings.iter().map(|(path, ..)| path.clone()).collect::<Vec<_>>();
        assert!(why.causes.iter().any(|cause| paths(cause) == ["strategy.recompute"]), "{why:?}");
        assert!(why.causes.iter().any(|cause| paths(cause).len() == 2), "{why:?}");
        assert_eq!(why.causes.iter().map(|cause| cause.time.0).sum::<i64>(), why.time.0);
    }

    #[test]
    fn a_search_that_is_stopped_says_nothing() {
        let mut to = base();
        to.strategy.recompute = Recompute::Full;
        assert_eq!(attribution(&base(), &to, &mut |_| false), None);
    }

    #[test]
    fn every_order_of_four_and_two_of_many() {
        assert_eq!(orders(4).len(), 24);
        assert_eq!(orders(9).len(), 2);
    }
}
