//! Two traces, kernel by kernel.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{KernelRow, TraceReport};
use crate::trace::{Activity, Name};
use crate::units::Nanos;

/// What became of a kernel, as `TraceDiff` calls it: by how often it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Only the other trace has it.
    Added,
    /// Only the baseline has it.
    Deleted,
    /// It runs more often.
    Increased,
    /// It runs less often.
    Decreased,
    /// As often.
    Unchanged,
}

impl Change {
    /// The name in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Deleted => "deleted",
            Self::Increased => "increased",
            Self::Decreased => "decreased",
            Self::Unchanged => "unchanged",
        }
    }
}

/// A kernel in two traces.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DiffRow {
    /// Its name.
    pub name: Name,
    /// What it is.
    pub activity: Activity,
    /// How often it ran in the baseline and in the other.
    pub counts: [u64; 2],
    /// How long it took in them, together.
    pub times: [Nanos; 2],
    /// What became of it.
    pub change: Change,
}

impl DiffRow {
    /// How much longer it takes.
    pub fn difference(&self) -> Nanos {
        self.times[1] - self.times[0]
    }
}

/// The kernels of two traces, the largest difference in time first.
pub fn trace_diff(baseline: &TraceReport, other: &TraceReport) -> Vec<DiffRow> {
    let mut both: BTreeMap<(Name, Activity), [Option<&KernelRow>; 2]> = BTreeMap::new();
    for (side, report) in [baseline, other].into_iter().enumerate() {
        for row in &report.kernels {
            let key = (row.name.clone(), row.activity);
            both.entry(key).or_default()[side] = Some(row);
        }
    }
    let row = |((name, activity), sides): ((Name, Activity), [Option<&KernelRow>; 2])| {
        let counts = sides.map(|side| side.map_or(0, |row| row.count));
        let times = sides.map(|side| side.map_or(Nanos::ZERO, |row| row.sum));
        let change = match counts {
            [0, _] => Change::Added,
            [_, 0] => Change::Deleted,
            [before, after] if after > before => Change::Increased,
            [before, after] if after < before => Change::Decreased,
            _ => Change::Unchanged,
        };
        DiffRow { name, activity, counts, times, change }
    };
    let mut rows: Vec<DiffRow> = both.into_iter().map(row).collect();
    rows.sort_by_key(|row| (std::cmp::Reverse(row.difference().0.abs()), row.name.clone()));
    rows
}
