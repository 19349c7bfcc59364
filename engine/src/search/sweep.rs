//! Every combination of a space, simulated one after the other: what varies, what it does, and what no other beats.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::space::Space;
use super::ways::simulated;
use crate::analysis::run_cost;
use crate::scenario::check;
use crate::units::{Bytes, Nanos};

/// A combination that was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepPoint {
    /// Its number in the space.
    pub index: u64,
    /// The value of every axis, in their order.
    pub values: Vec<Value>,
    /// What it takes, or why it is no scenario.
    #[serde(flatten)]
    pub outcome: SweepOutcome,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SweepOutcome {
    /// It was simulated.
    Figures(SweepFigures),
    /// It is no valid scenario.
    Invalid(String),
}

/// What a combination takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepFigures {
    /// A step, in the mean.
    pub step_time: Nanos,
    /// Peak of the stage that needs the most.
    pub memory: Bytes,
    /// Whether it fits into the devices' memory.
    pub fits: bool,
    /// Devices that it uses.
    pub devices: u32,
    /// Over all devices.
    pub tokens_per_s: f64,
    /// Model FLOPs utilisation.
    pub mfu: f64,
    /// Devices times hours for a million tokens (images, samples).
    pub device_hours: f64,
    /// What they cost, where a price is named.
    pub money: Option<f64>,
}

impl SweepPoint {
    /// What it takes, where it is a scenario.
    pub fn figures(&self) -> Option<&SweepFigures> {
        match &self.outcome {
            SweepOutcome::Figures(figures) => Some(figures),
            SweepOutcome::Invalid(_) => None,
        }
    }
}

/// Combinations that one sweep tries, at most.
pub const MOST_POINTS: u64 = 200_000;

/// A sweep, one simulation after the other. Neighbours are tried far apart in time, so that what is known early is spread
/// over the whole space.
#[derive(Clone, Debug)]
pub struct Sweep {
    space: Space,
    /// Of `of` shares this one is tried.
    shard: (u64, u64),
    next: u64,
    points: Vec<SweepPoint>,
}

impl Sweep {
    /// Over a whole space, or the part `shard.0` (from 0) of `shard.1` of it.
    pub fn new(space: Space, shard: (u64, u64)) -> Self {
        Self { space, shard: (shard.0.min(shard.1.max(1) - 1), shard.1.max(1)), next: 0, points: Vec::new() }
    }

    /// The space.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// Combinations of this part.
    pub fn len(&self) -> u64 {
        let (part, of) = self.shard;
        self.space.len().saturating_sub(part).div_ceil(of)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was tried so far, in the order in which it was.
    pub fn points(&self) -> &[SweepPoint] {
        &self.points
    }

    /// The share that is done.
    pub fn share(&self) -> f32 {
        self.next as f32 / (self.len() as f32).max(1.0)
    }

    /// Tries the next combination; false when there is none.
    pub fn advance(&mut self) -> bool {
        if self.next >= self.len() {
            return false;
        }
        let index = scattered(self.next, self.len()) * self.shard.1 + self.shard.0;
        self.next += 1;
        self.points.push(tried(&self.space, index));
        true
    }
}

fn tried(space: &Space, index: u64) -> SweepPoint {
    let file = space.file(index);
    let values = space.values(index).into_iter().cloned().collect();
    let outcome = match check(&file) {
        Err(error) => SweepOutcome::Invalid(error.to_string()),
        Ok(scenario) => {
            let (_, report) = simulated(&scenario);
            let cost = run_cost(&scenario, &report);
            SweepOutcome::Figures(SweepFigures {
                step_time: report.mean_step_time,
                memory: report.fit.needed,
                fits: report.fit.fits,
                devices: scenario.mesh().ranks(),
                tokens_per_s: report.tokens_per_s,
                mfu: report.mfu,
                device_hours: cost.million.device_hours,
                money: cost.million.money,
            })
        }
    };
    SweepPoint { index, values, outcome }
}

/// The `n`th of the numbers below `count` in an order that visits each once: steps of about the golden section, by a
/// number that shares no divisor with `count`.
fn scattered(n: u64, count: u64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a step below the count")]
    let mut step = ((count as f64 * 0.618_034) as u64).max(1);
    while divisor(step, count) != 1 {
        step += 1;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a remainder of a 64-bit number")]
    let place = (u128::from(n) * u128::from(step) % u128::from(count.max(1))) as u64;
    place
}

fn divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { divisor(b, a % b) }
}

/// What is small where it is good: the second axis of a front.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Against {
    /// Peak memory.
    #[default]
    Memory,
    /// Device-hours for a million tokens.
    Cost,
    /// Devices.
    Devices,
}

impl Against {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Cost, Self::Devices];

    /// Its key.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cost => "cost",
            Self::Devices => "devices",
        }
    }

    /// Of a point.
    pub fn of(self, figures: &SweepFigures) -> f64 {
        match self {
            Self::Memory => figures.memory.as_f64(),
            Self::Cost => figures.device_hours,
            Self::Devices => f64::from(figures.devices),
        }
    }
}

/// The points that fit and that no other that fits beats in time and in `against` at once, by time.
pub fn pareto(points: &[SweepPoint], against: Against) -> Vec<usize> {
    let mut by_time: Vec<(usize, &SweepFigures)> = points
        .iter()
        .enumerate()
        .filter_map(|(place, point)| Some((place, point.figures().filter(|figures| figures.fits)?)))
        .collect();
    by_time.sort_by(|(_, a), (_, b)| a.step_time.cmp(&b.step_time).then(against.of(a).total_cmp(&against.of(b))));
    let mut least = f64::INFINITY;
    by_time.retain(|(_, figures)| {
        let better = against.of(figures) < least;
        least = least.min(against.of(figures));
        better
    });
    by_time.into_iter().map(|(place, _)| place).collect()
}

/// How much each axis matters for the time of a step: the share of the variance of its logarithm that lies between the
/// means of the axis' values (the first-order index of Sobol 1993, over the points at hand that are scenarios).
pub fn importance(space: &Space, points: &[SweepPoint]) -> Vec<(String, f64)> {
    let known: Vec<(&SweepPoint, f64)> =
        points.iter().filter_map(|point| Some((point, point.figures()?.step_time.secs().max(1e-12).ln()))).collect();
    let count = known.len().max(1) as f64;
    let mean = known.iter().map(|(_, log)| log).sum::<f64>() / count;
    let variance = known.iter().map(|(_, log)| (log - mean).powi(2)).sum::<f64>() / count;
    let of_axis = |place: usize| {
        let mut groups: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        for (point, log) in &known {
            let group = groups.entry(point.values[place].to_string()).or_default();
            *group = (group.0 + 1.0, group.1 + log);
        }
        let between: f64 = groups.values().map(|(n, sum)| n * (sum / n - mean).powi(2)).sum();
        if variance > 0.0 { between / count / variance } else { 0.0 }
    };
    let mut shares: Vec<(String, f64)> =
        space.axes.iter().enumerate().map(|(place, axis)| (axis.path.clone(), of_axis(place))).collect();
    shares.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::preset_file;
    use crate::search::Axis;

    fn space() -> Space {
        let axis = |path: &str, values: &[u32]| Axis {
            path: format!("strategy.{path}"),
            values: values.iter().map(|&value| value.into()).collect(),
        };
        let axes =
            vec![axis("tensor_parallel", &[1, 2, 4]), axis("micro_batch", &[1, 2, 4]), axis("zero_stage", &[0, 1])];
        Space::new(&preset_file("llama2-7b-8xh100").expect("a preset"), axes).expect("a space")
    }

    fn swept(space: Space, shard: (u64, u64)) -> Vec<SweepPoint> {
        let mut sweep = Sweep::new(space, shard);
        while sweep.advance() {}
        assert!((sweep.share() - 1.0).abs() < 1e-6);
        sweep.points().to_vec()
    }

    #[test]
    fn every_combination_is_tried_once_and_shards_are_the_whole() {
        let mut whole = swept(space(), (0, 1));
        let mut parts: Vec<SweepPoint> = (0..4).flat_map(|part| swept(space(), (part, 4))).collect();
        whole.sort_by_key(|point| point.index);
        parts.sort_by_key(|point| point.index);
        assert_eq!(whole.len() as u64, space().len());
        assert_eq!(whole, parts);
        let text = serde_json::to_string(&whole).expect("JSON");
        assert_eq!(serde_json::from_str::<Vec<SweepPoint>>(&text).expect("points"), whole);
    }

    #[test]
    fn nothing_beats_the_front_and_every_other_point_is_beaten() {
        let points = swept(space(), (0, 1));
        for against in Against::ALL {
            let front = pareto(&points, against);
            let figures = |place: usize| points[place].figures().expect("simulated");
            let beats = |a: usize, b: usize| {
                let (a, b) = (figures(a), figures(b));
                a.step_time <= b.step_time && against.of(a) <= against.of(b)
            };
            assert!(!front.is_empty());
            for place in (0..points.len()).filter(|&place| points[place].figures().is_some_and(|f| f.fits)) {
                let on_front = front.contains(&place);
                let beaten = front.iter().any(|&other| other != place && beats(other, place));
                assert!(on_front != beaten, "{:?}", points[place]);
            }
        }
    }

    #[test]
    fn an_axis_that_does_nothing_does_not_matter() {
        let (space, points) = (space(), swept(space(), (0, 1)));
        let shares: BTreeMap<String, f64> = importance(&space, &points).into_iter().collect();
        assert!(shares["strategy.tensor_parallel"] > 0.3, "{shares:?}");
        assert!(shares["strategy.tensor_parallel"] > shares["strategy.zero_stage"], "{shares:?}");
        assert!(shares.values().all(|share| (0.0..=1.0).contains(share)), "{shares:?}");
    }

    #[test]
    fn an_order_visits_every_number() {
        for count in [1, 2, 7, 12, 100] {
            let mut seen: Vec<u64> = (0..count).map(|n| scattered(n, count)).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..count).collect::<Vec<_>>());
        }
    }
}
