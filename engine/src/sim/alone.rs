//! How long the parts of a segment take at least: each run alone, with its inputs there and all streams free.
//!
//! Kernels of a rank run one after the other, and starting late or waiting for others only delays them. So from its
//! first kernel to its last no part is ever faster than here, and parts do not overlap: their sum bounds a stage's step
//! time from below.

use std::collections::BTreeMap;

use super::Folding;
use super::program::{Action, PricedOp, price};
use crate::graph::{Part, SegmentKind, StepGraph};
use crate::scenario::Scenario;
use crate::trace::{Phase, Stream};
use crate::units::Nanos;

/// What a part of a segment takes at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartTime {
    /// From the first kernel to the last.
    pub whole: Nanos,
    /// Its kernels alone: what is left where another micro-batch computes while it communicates.
    pub kernels: Nanos,
    /// Its kernels that need the gradient that comes in: recomputation may run before it is there.
    pub after_gradient: Nanos,
}

/// The times of every part of the first stage's segments, on the class of ranks that is fastest.
pub fn part_times(step: &StepGraph, scenario: &Scenario) -> BTreeMap<(SegmentKind, Part), PartTime> {
    let folding = Folding::classes(scenario.mesh(), scenario.cluster());
    let programs = price(step, scenario, &folding);
    let mut times: BTreeMap<(SegmentKind, Part), PartTime> = BTreeMap::new();
    for (class, priced) in folding.classes.iter().zip(&programs.classes).filter(|(class, _)| class.stage == 0) {
        let stage = &step.stages[class.stage as usize];
        for (segment, priced) in stage.segments.iter().zip(priced) {
            let mut of_part: BTreeMap<Part, Vec<&PricedOp>> = BTreeMap::new();
            for (op, priced) in segment.ops().zip(&priced.ops) {
                of_part.entry(op.part).or_default().push(priced);
            }
            for (part, ops) in of_part {
                let time = alone(&ops, &priced.tensors);
                let kernels = |recomputed: bool| -> Nanos {
                    let of_part = segment.ops().zip(&priced.ops).filter(|(op, priced)| {
                        let counts = recomputed || op.phase != Phase::Recompute;
                        op.part == part && counts && priced.stream == Stream::Compute
                    });
                    of_part.map(|(_, priced)| priced.duration).sum()
                };
                let time = PartTime { whole: time, kernels: kernels(true), after_gradient: kernels(false) };
                times.entry((segment.kind, part)).and_modify(|known| *known = known.least(time)).or_insert(time);
            }
        }
    }
    times
}

impl PartTime {
    fn least(self, other: Self) -> Self {
        Self {
            whole: self.whole.min(other.whole),
            kernels: self.kernels.min(other.kernels),
            after_gradient: self.after_gradient.min(other.after_gradient),
        }
    }
}

/// From the start of the first kernel to the end of the last.
fn alone(ops: &[&PricedOp], tensors: &[u32]) -> Nanos {
    let mut free = [Nanos::ZERO; Stream::ALL.len()];
    let mut ready: BTreeMap<u32, Nanos> = BTreeMap::new();
    let (mut first, mut last) = (None, Nanos::ZERO);
    for op in ops.iter().filter(|op| !matches!(op.action, Action::Send(_) | Action::Receive(_) | Action::Load)) {
        let range = |(from, to): (u32, u32)| &tensors[from as usize..to as usize];
        let inputs = range(op.reads).iter().filter_map(|tensor| ready.get(tensor));
        let start = inputs.copied().fold(free[op.stream.index()], Nanos::max);
        let end = start + op.duration;
        free[op.stream.index()] = end;
        ready.extend(range(op.writes).iter().map(|&tensor| (tensor, end)));
        if op.stream == Stream::Compute {
            first.get_or_insert(start);
            last = last.max(end);
        }
    }
    first.map_or(Nanos::ZERO, |first| last - first)
}
