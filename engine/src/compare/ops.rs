//! Predicted beside executed times, by class of op and by op.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::analysis::kernel_name;
use crate::trace::{Label, Origin, Phase, Trace};
use crate::units::Nanos;

/// One class of ops, summed over all ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ComparisonRow {
    /// The class, for example `matmul`.
    pub class: &'static str,
    /// What the cost model says, with the measured rates.
    pub predicted: Nanos,
    /// What it took: the median over the executed steps.
    pub executed: Nanos,
}

impl ComparisonRow {
    /// Executed over predicted; none where nothing was predicted.
    pub fn ratio(&self) -> Option<f64> {
        ratio(self.predicted, self.executed)
    }
}

/// An op of all layers alike in a part of the step, summed over all ranks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpComparison {
    /// Its name, with a star for the number of the layer or bucket, for example `layer * qkv`.
    pub name: String,
    /// Its class.
    pub class: &'static str,
    /// The part of the step; none of pages, which move whenever room is needed.
    pub phase: Option<Phase>,
    /// How often it ran in a step.
    pub count: u32,
    /// What the cost model says, with the measured rates.
    pub predicted: Nanos,
    /// What it took: the median over the executed steps.
    pub executed: Nanos,
}

impl OpComparison {
    /// Executed over predicted; none where nothing was predicted.
    pub fn ratio(&self) -> Option<f64> {
        ratio(self.predicted, self.executed)
    }
}

fn ratio(predicted: Nanos, executed: Nanos) -> Option<f64> {
    (predicted > Nanos::ZERO).then(|| executed.secs() / predicted.secs())
}

/// What tells ops apart.
type Key = (String, &'static str, Option<Phase>);

/// How often, and how long together.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    count: u32,
    time: Nanos,
}

/// Times of the ops of a trace, over all ranks.
pub(super) struct OpTimes(BTreeMap<Key, Total>);

impl OpTimes {
    /// Adds up the spans of a trace.
    ///
    /// An executed collective runs once for its whole group, and its span stands on every member's stream: it counts
    /// once. A modelled one counts for each member, whose sends share the device here.
    pub fn of(trace: &Trace) -> Self {
        let mut of_labels = vec![Total::default(); trace.labels.len()];
        let mut seen = BTreeSet::new();
        for span in &trace.spans {
            let again = trace.origin == Origin::Executed && !seen.insert((span.start, span.end(), span.label));
            if !again && let Some(total) = of_labels.get_mut(span.label.0 as usize) {
                total.count += 1;
                total.time += span.duration;
            }
        }
        let mut times = BTreeMap::<Key, Total>::new();
        for (label, total) in trace.labels.iter().zip(of_labels).filter(|(_, total)| total.count > 0) {
            let all = times.entry(key(label)).or_default();
            all.count += total.count;
            all.time += total.time;
        }
        Self(times)
    }

    /// Adds pages that move to the host's memory or back, by `class`: the pool decides on them, not the step graph.
    pub fn add_pages(&mut self, class: &'static str, moves: u32, time: Nanos) {
        let all = self.0.entry(pages(class)).or_default();
        all.count += moves;
        all.time += time;
    }

    fn of_op(&self, key: &Key) -> Total {
        self.0.get(key).copied().unwrap_or_default()
    }

    fn by_class(&self) -> BTreeMap<&'static str, Nanos> {
        let mut times = BTreeMap::new();
        for ((_, class, _), total) in &self.0 {
            *times.entry(*class).or_default() += total.time;
        }
        times
    }
}

fn key(label: &Label) -> Key {
    match label.name.split_once(' ') {
        Some(("page", _)) => pages(label.class),
        _ => (kernel_name(&label.name), label.class, Some(label.phase)),
    }
}

/// All pages that a pool moves one way.
fn pages(class: &'static str) -> Key {
    ("pages".to_owned(), class, None)
}

/// By class, the longest executed first.
pub(super) fn class_rows(predicted: &OpTimes, executed: &[OpTimes]) -> Vec<ComparisonRow> {
    let (predicted, steps) = (predicted.by_class(), executed.iter().map(OpTimes::by_class).collect::<Vec<_>>());
    let classes: BTreeSet<_> = predicted.keys().chain(steps.iter().flat_map(BTreeMap::keys)).copied().collect();
    let row = |class| ComparisonRow {
        class,
        predicted: predicted.get(class).copied().unwrap_or_default(),
        executed: median(steps.iter().map(|step| step.get(class).copied().unwrap_or_default()).collect()),
    };
    let mut rows: Vec<_> =
        classes.into_iter().map(row).filter(|row| row.predicted + row.executed > Nanos::ZERO).collect();
    rows.sort_by_key(|row| (std::cmp::Reverse(row.executed), row.class));
    rows
}

/// By op, the longest executed first.
pub(super) fn op_rows(predicted: &OpTimes, executed: &[OpTimes]) -> Vec<OpComparison> {
    let ops: BTreeSet<&Key> = predicted.0.keys().chain(executed.iter().flat_map(|step| step.0.keys())).collect();
    let row = |key: &Key| {
        let steps: Vec<Total> = executed.iter().map(|step| step.of_op(key)).collect();
        let (name, class, phase) = key.clone();
        OpComparison {
            name,
            class,
            phase,
            count: steps.iter().map(|total| total.count).max().unwrap_or(0),
            predicted: predicted.of_op(key).time,
            executed: median(steps.iter().map(|total| total.time).collect()),
        }
    };
    let mut rows: Vec<_> = ops.into_iter().map(row).filter(|row| row.predicted + row.executed > Nanos::ZERO).collect();
    rows.sort_by(|a, b| (b.executed, &a.name, a.phase).cmp(&(a.executed, &b.name, b.phase)));
    rows
}

/// The median; of a step in which an op did not run it took no time.
fn median(mut times: Vec<Nanos>) -> Nanos {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
