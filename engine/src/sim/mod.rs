//! The modelled executor: prices the ops of a step graph and plays them on in-order streams.
//!
//! Pure: no IO, no clock, no thread. Time is the longest path through the max-plus equations of the streams
//! (`start = max(stream free, inputs ready, group arrived)`), evaluated in program order; ties cannot occur, so the
//! same scenario gives the same bytes on every platform.
//!
//! * `fold` groups identical ranks into classes,
//! * `program` prices each op once per class,
//! * `core` plays the programs,
//! * `flow` plays them by events where messages share links, which `demand` knows,
//! * `memory` turns the memory plan into curves over time,
//! * `slack` finds the critical path, and what the other ops have to spare,
//! * `alone` bounds from below what parts of a program take,
//! * [`cache`] plays what a job reads through caches, [`input`] its way from there to a step,
//! * [`faults`] plays a run of weeks with its checkpoints and failures.

mod alone;
pub mod cache;
mod core;
mod demand;
mod draw;
pub mod faults;
mod flow;
mod fold;
pub mod input;
mod memory;
mod program;
mod slack;
pub mod transfer;

pub use alone::{PartTime, part_times};
pub use fold::{Class, Folding, neighbours};
pub use program::pattern;
pub use slack::{Slack, critical_spans, slack};

use crate::graph::{OpKind, StepGraph};
use crate::scenario::Scenario;
use crate::trace::Trace;
use crate::units::Nanos;

/// Simulates one step with identical ranks folded into classes.
pub fn simulate(step: &StepGraph, scenario: &Scenario) -> Trace {
    simulate_folded(step, scenario, &Folding::classes(scenario.mesh(), scenario.cluster()))
}

/// The time of a step alone.
pub fn step_time(step: &StepGraph, scenario: &Scenario) -> Nanos {
    simulate(step, scenario).step_time
}

/// The time of a step if the ops of one class were faster by `factor`, at least 1.
pub fn step_time_if_faster(step: &StepGraph, scenario: &Scenario, class: &str, factor: f64) -> Nanos {
    let folding = Folding::classes(scenario.mesh(), scenario.cluster());
    let programs = program::price_with(step, scenario, &folding, Some((class, factor)));
    played(step, scenario, &folding, fed(step, scenario, &folding, programs)).step_time
}

/// Simulates one step with the given folding; [`Folding::unfolded`] plays every rank.
pub fn simulate_folded(step: &StepGraph, scenario: &Scenario, folding: &Folding) -> Trace {
    let programs = fed(step, scenario, folding, program::price(step, scenario, folding));
    played(step, scenario, folding, programs)
}

/// A step that changes by less than this share is the same.
const SETTLED: f64 = 1e-3;

/// Rounds after which a step is taken as it is.
const ROUNDS: usize = 8;

/// Programs with the times at which samples are there, where a loader brings them: the step is played as if they always
/// were, to see when it takes them, and again with what it waits until that no longer changes it.
fn fed(step: &StepGraph, scenario: &Scenario, folding: &Folding, mut programs: program::Programs) -> program::Programs {
    if !step.ops().any(|op| op.kind == OpKind::Load) {
        return programs;
    }
    let Some(loader) = input::Loader::of(scenario) else { return programs };
    let mut before = Nanos::ZERO;
    for _ in 0..ROUNDS {
        let unnamed = play(step, scenario, folding, &programs);
        let trace = Trace { labels: std::mem::take(&mut programs.labels), ..unnamed };
        programs.samples = input::samples_there(&loader, &trace, step.micro_batches);
        programs.labels = trace.labels;
        if (trace.step_time - before).secs().abs() <= trace.step_time.secs() * SETTLED {
            break;
        }
        before = trace.step_time;
    }
    programs
}

/// Plays priced programs; the trace takes their labels.
fn played(step: &StepGraph, scenario: &Scenario, folding: &Folding, programs: program::Programs) -> Trace {
    let trace = play(step, scenario, folding, &programs);
    Trace { labels: programs.labels, ..trace }
}

/// Plays priced programs, in program order or, where messages share links, by events. The labels stay with the programs.
fn play(step: &StepGraph, scenario: &Scenario, folding: &Folding, programs: &program::Programs) -> Trace {
    let cluster = scenario.cluster();
    let times = cluster.contention.then(|| flow::times(step, cluster, folding, programs));
    core::play(step, folding, programs, times.as_ref())
}
