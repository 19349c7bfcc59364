//! Recomputation by a memory budget: of every virtual stage as few layers, from the first, as its memory allows
//! (Megatron-LM's `--recompute-method block` with the number found; Chen et al. 2016 trade memory for compute alike).
//!
//! A stage's memory does not depend on what other stages repeat, so all of them are halved at once: a dozen lowerings
//! find the least numbers.

use std::collections::BTreeSet;

use crate::graph::StepGraph;
use crate::scenario::Scenario;
use crate::units::Bytes;

/// The step in which every stage repeats the fewest layers with which it stays within `budget`; all of them where even
/// that does not suffice. `lower` lowers the scenario with some layers repeated.
pub fn within(scenario: &Scenario, budget: Bytes, lower: impl Fn(&BTreeSet<u32>) -> StepGraph) -> StepGraph {
    let stages = scenario.strategy().pipeline_parallel as usize;
    let most = scenario.strategy().stage_layers.iter().copied().max().unwrap_or(0);
    let fits = |step: &StepGraph, stage: usize| step.stages[stage].memory.at_peak.total() <= budget;
    let mut step = lower(&BTreeSet::new());
    // Too few for `short`, enough for `enough`; a stage that fits needs none.
    let mut short: Vec<Option<u32>> = (0..stages).map(|stage| (!fits(&step, stage)).then_some(0)).collect();
    let mut enough: Vec<u32> = short.iter().map(|short| if short.is_some() { most } else { 0 }).collect();
    while let Some(tried) = halves(&short, &enough) {
        step = lower(&layers(scenario, &tried));
        for (stage, &count) in tried.iter().enumerate() {
            match short[stage] {
                Some(_) if fits(&step, stage) => enough[stage] = count,
                Some(_) => short[stage] = Some(count),
                None => {}
            }
        }
    }
    if enough.iter().all(|&count| count == 0) { step } else { lower(&layers(scenario, &enough)) }
}

/// Between too few and enough, where they are not next to each other; none when they are everywhere.
fn halves(short: &[Option<u32>], enough: &[u32]) -> Option<Vec<u32>> {
    let open = |(short, enough): (&Option<u32>, &u32)| short.is_some_and(|short| enough - short > 1);
    if !short.iter().zip(enough).any(open) {
        return None;
    }
    let half = |(short, &enough): (&Option<u32>, &u32)| match short {
        Some(short) if enough - short > 1 => short.midpoint(enough),
        _ => enough,
    };
    Some(short.iter().zip(enough).map(half).collect())
}

/// The first layers of every virtual stage, as many as its stage repeats.
fn layers(scenario: &Scenario, counts: &[u32]) -> BTreeSet<u32> {
    let strategy = scenario.strategy();
    let layout = strategy.layout();
    let mut layers = BTreeSet::new();
    for (depth, first, count) in layout.layers(&strategy.stage_layers) {
        let stage = layout.place(depth).0 as usize;
        layers.extend(first..first + count.min(counts[stage]));
    }
    layers
}
