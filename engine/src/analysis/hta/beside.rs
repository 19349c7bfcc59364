//! A measured trace beside a simulated step.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{ClassTime, RankReport, TraceReport};
use crate::analysis::{Breakdown, OpClassTime, breakdowns, op_classes};
use crate::trace::{Imported, Trace};
use crate::units::Nanos;

/// A figure of a step, measured and modelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BesideRow {
    /// What of: a class of ops, or `step`, `compute`, `exposed`, `idle`.
    pub what: &'static str,
    /// Of a step on a rank, in the mean.
    pub measured: Nanos,
    /// Of a step on the rank that is longest busy.
    pub modelled: Nanos,
}

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Beside {
    /// Steps that the measured trace has.
    pub steps: u32,
    /// Where the time goes.
    pub times: Vec<BesideRow>,
    /// Classes of ops.
    pub classes: Vec<BesideRow>,
}

/// Steps of a trace: those that were marked on a rank, or one.
fn steps_of(imported: &Imported) -> u32 {
    let mut of_group: BTreeMap<u32, u32> = BTreeMap::new();
    imported.steps.iter().for_each(|step| *of_group.entry(step.group).or_default() += 1);
    of_group.into_values().max().unwrap_or(1).max(1)
}

/// A measured trace beside a simulated step.
pub fn beside(imported: &Imported, report: &TraceReport, modelled: &Trace) -> Beside {
    let steps = steps_of(imported);
    let of_step = |time: Nanos| Nanos(time.0 / i64::from(steps));
    let busiest = breakdowns(modelled).into_iter().max_by_key(|(_, parts)| parts.compute()).unwrap_or_default();
    let classes = classes(&report.classes, &op_classes(modelled, busiest.0), of_step);
    Beside { steps, times: times(&report.ranks, modelled, busiest.1, of_step), classes }
}

fn times(
    ranks: &[RankReport],
    modelled: &Trace,
    busiest: Breakdown,
    of_step: impl Fn(Nanos) -> Nanos,
) -> Vec<BesideRow> {
    let count = i64::try_from(ranks.len().max(1)).unwrap_or(1);
    let mean = |of: &dyn Fn(&RankReport) -> Nanos| Nanos(ranks.iter().map(|rank| of(rank).0).sum::<i64>() / count);
    let exposed = busiest.total() - busiest.compute() - busiest.bubble - busiest.host;
    let row = |what, measured: Nanos, modelled: Nanos| BesideRow { what, measured: of_step(measured), modelled };
    vec![
        row("step", mean(&|rank| rank.kernel_time), modelled.step_time),
        row("compute", mean(&|rank| rank.compute), busiest.compute()),
        row("exposed", mean(&|rank| rank.non_compute), exposed),
        row("idle", mean(&|rank| rank.idle), busiest.bubble + busiest.host),
    ]
}

fn classes(measured: &[ClassTime], modelled: &[OpClassTime], of_step: impl Fn(Nanos) -> Nanos) -> Vec<BesideRow> {
    let mut rows: BTreeMap<&'static str, [Nanos; 2]> = BTreeMap::new();
    for class in measured {
        rows.entry(class.class).or_default()[0] += of_step(class.time);
    }
    for class in modelled {
        rows.entry(class.class).or_default()[1] += class.time;
    }
    let row = |(what, [measured, modelled]): (&'static str, [Nanos; 2])| BesideRow { what, measured, modelled };
    let mut all: Vec<BesideRow> = rows.into_iter().map(row).collect();
    all.sort_by_key(|row| (std::cmp::Reverse(row.measured.max(row.modelled)), row.what));
    all.retain(|row| row.measured > Nanos::ZERO || row.modelled > Nanos::ZERO);
    all
}
