//! Recomputation by a memory budget: of every stage as little as its memory allows, of each of its chunks alike.
//!
//! A byte that is not kept costs time to compute again: norms, activation functions and stored scores a pass over memory,
//! a whole layer its matrix products, several times as much in models of any size. So cheap parts come first, of as few
//! layers as suffice, then whole layers (Megatron-LM's `--recompute-method block` with the number found; Chen et al. 2016,
//! Korthikanti et al. 2022). Where a stage has one chunk no other choice within the
//! budget is faster (a test).
//!
//! A stage's memory does not depend on what other stages repeat, so all of them are halved at once: a dozen lowerings find
//! the least numbers.

use std::collections::BTreeSet;

use crate::graph::StepGraph;
use crate::scenario::Scenario;
use crate::units::Bytes;

/// What the backward pass computes again where a budget decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repeats {
    /// Layers whose norms, activation functions and stored scores are repeated.
    pub cheap: BTreeSet<u32>,
    /// Layers that are repeated from their input.
    pub whole: BTreeSet<u32>,
}

impl Repeats {
    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.cheap.is_empty() && self.whole.is_empty()
    }
}

/// The step in which every stage repeats the least with which it stays within `budget`; all of it where even that does not
/// suffice. `lower` lowers the scenario with some of it repeated.
pub fn within(scenario: &Scenario, budget: Bytes, lower: impl Fn(&Repeats) -> StepGraph) -> StepGraph {
    let most = most(scenario);
    let fits = |step: &StepGraph| -> Vec<bool> {
        step.stages.iter().map(|stage| stage.memory.at_peak.total() <= budget).collect()
    };
    let step = lower(&Repeats::default());
    let fitting = fits(&step);
    if fitting.iter().all(|&fits| fits) {
        return step;
    }
    let open = |stage: usize| !fitting[stage];
    // One more layer's cheap parts with every step; when all have them, one more layer whole.
    let choice = |steps: &[u32]| -> Vec<[u32; 2]> {
        steps.iter().map(|&taken| [taken.saturating_sub(most), taken.min(most)]).collect()
    };
    let steps =
        least(most * 2, fitting.iter().map(|fits| !fits), |steps| fits(&lower(&repeats(scenario, &choice(steps)))));
    // The last layer that became whole may leave room for some whose cheap parts need not be repeated.
    let whole: Vec<u32> = steps.iter().map(|&taken| taken.saturating_sub(most)).collect();
    let with = |cheap: &[u32]| -> Vec<[u32; 2]> {
        let of = |((&whole, &cheap), &taken): ((&u32, &u32), &u32)| [whole, if whole > 0 { cheap } else { taken }];
        whole.iter().zip(cheap).zip(&steps).map(of).collect()
    };
    let cheap = least(most, (0..whole.len()).map(|stage| open(stage) && whole[stage] > 0), |cheap| {
        fits(&lower(&repeats(scenario, &with(cheap))))
    });
    lower(&repeats(scenario, &with(&cheap)))
}

/// For every stage that is open the least number, up to `most`, with which it fits; `most` where none does. `fits` says of
/// a number for each stage which of them fit.
fn least(most: u32, open: impl Iterator<Item = bool>, fits: impl Fn(&[u32]) -> Vec<bool>) -> Vec<u32> {
    // Too few for `short`, enough for `enough`; a stage that is not open needs none.
    let mut short: Vec<Option<u32>> = open.map(|open| open.then_some(0)).collect();
    let mut enough: Vec<u32> = short.iter().map(|short| if short.is_some() { most } else { 0 }).collect();
    if short.iter().all(Option::is_none) {
        return enough;
    }
    for (stage, fits) in fits(&vec![0; enough.len()]).into_iter().enumerate() {
        if fits && short[stage].is_some() {
            (short[stage], enough[stage]) = (None, 0);
        }
    }
    while let Some(tried) = halves(&short, &enough) {
        for (stage, fits) in fits(&tried).into_iter().enumerate() {
            match short[stage] {
                Some(_) if fits => enough[stage] = tried[stage],
                Some(_) => short[stage] = Some(tried[stage]),
                None => {}
            }
        }
    }
    enough
}

/// Layers of the largest virtual stage.
fn most(scenario: &Scenario) -> u32 {
    scenario.strategy().stage_layers.iter().copied().max().unwrap_or(0)
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

/// Of every virtual stage as many layers whole, from the first, as its stage's first number says, and of as many as the
/// second says, counted from the first layer too, the cheap parts of those that are not whole.
fn repeats(scenario: &Scenario, choice: &[[u32; 2]]) -> Repeats {
    let strategy = scenario.strategy();
    let layout = strategy.layout();
    let mut repeats = Repeats::default();
    for (depth, first, count) in layout.layers(&strategy.stage_layers) {
        let [whole, cheap] = choice[layout.place(depth).0 as usize].map(|layers| layers.min(count));
        repeats.whole.extend(first..first + whole);
        repeats.cheap.extend(first + whole..first + cheap.max(whole));
    }
    repeats
}
