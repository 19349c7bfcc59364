//! Which kernels take the time.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::Serialize;

use crate::trace::{Activity, Imported, LabelId, Name};
use crate::units::Nanos;

/// All runs of a kernel.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KernelRow {
    /// Its name.
    pub name: Name,
    /// What it is.
    pub activity: Activity,
    /// The class by its name.
    pub class: &'static str,
    /// How often it ran, on all ranks.
    pub count: u64,
    /// How long, together.
    pub sum: Nanos,
    /// The shortest run.
    pub min: Nanos,
    /// The longest.
    pub max: Nanos,
}

impl KernelRow {
    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        (self.min, self.max) = (self.min.min(other.min), self.max.max(other.max));
    }

    /// How long in the mean.
    pub fn mean(&self) -> Nanos {
        Nanos(self.sum.0 / i64::try_from(self.count.max(1)).unwrap_or(i64::MAX))
    }
}

/// The kernels of a trace, those that take most together first.
pub(super) fn kernels(imported: &Imported) -> Vec<KernelRow> {
    // Ranks have labels of their own for the same kernels.
    let mut of_label: BTreeMap<LabelId, KernelRow> = BTreeMap::new();
    for span in imported.trace.spans.iter().filter(|span| imported.activity(span).is_on_device()) {
        let label = imported.trace.label(span);
        let row = of_label.entry(span.label).or_insert_with(|| KernelRow {
            name: label.name.clone(),
            activity: imported.activity(span),
            class: label.class,
            count: 0,
            sum: Nanos::ZERO,
            min: span.duration,
            max: span.duration,
        });
        row.count += 1;
        row.sum += span.duration;
        (row.min, row.max) = (row.min.min(span.duration), row.max.max(span.duration));
    }
    let mut rows: BTreeMap<(Name, Activity), KernelRow> = BTreeMap::new();
    for row in of_label.into_values() {
        match rows.entry((row.name.clone(), row.activity)) {
            Entry::Vacant(place) => drop(place.insert(row)),
            Entry::Occupied(mut known) => known.get_mut().add(&row),
        }
    }
    let mut rows: Vec<KernelRow> = rows.into_values().collect();
    rows.sort_by(|a, b| b.sum.cmp(&a.sum).then_with(|| a.name.cmp(&b.name)));
    rows
}

/// How long kernels of a class take, on a rank in the mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ClassTime {
    /// The class.
    pub class: &'static str,
    /// What it is.
    pub activity: Activity,
    /// Runs on all ranks.
    pub count: u64,
    /// How long, on a rank in the mean.
    pub time: Nanos,
}

/// Classes of kernels, those that take most first: what a simulation has, too.
pub(super) fn class_times(kernels: &[KernelRow], ranks: usize) -> Vec<ClassTime> {
    let mut classes: BTreeMap<(&'static str, Activity), (u64, Nanos)> = BTreeMap::new();
    for row in kernels {
        let of = classes.entry((row.class, row.activity)).or_default();
        *of = (of.0 + row.count, of.1 + row.sum);
    }
    let ranks = i64::try_from(ranks.max(1)).unwrap_or(1);
    let time = |((class, activity), (count, sum)): ((&'static str, Activity), (u64, Nanos))| ClassTime {
        class,
        activity,
        count,
        time: Nanos(sum.0 / ranks),
    };
    let mut all: Vec<ClassTime> = classes.into_iter().map(time).collect();
    all.sort_by_key(|class| (std::cmp::Reverse(class.time), class.class));
    all
}
