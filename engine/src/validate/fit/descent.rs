//! The search for the parameters that fit best.
//!
//! Steps follow slopes; where they end, every parameter is moved alone. The search starts from the same points whatever was
//! fitted before, so it is deterministic.

use std::collections::BTreeMap;

use super::{Parameter, Sample, predicted};
use crate::cluster::Device;

/// What a row adds to the objective at most.
const MOST: f64 = 0.4;

/// Where every search starts, besides [`HOST_STARTS`].
const START: [(Parameter, f64); 5] = [
    (Parameter::Matmul, 0.75),
    (Parameter::Eager, 1.0),
    (Parameter::Memory, 0.75),
    (Parameter::Attention, 0.5),
    (Parameter::Launch, 5.0),
];

/// Where the search starts for the host: below what a model's kernels take it has no effect that could be followed.
const HOST_STARTS: [f64; 2] = [20.0, 100.0];

/// Steps of the search at most.
const STEPS: usize = 16;

/// The device whose parameters fit the samples best.
pub(super) fn search(samples: &[&Sample], start: &Device) -> Device {
    let from = |micros: f64| {
        let mut device = start.clone();
        START.into_iter().for_each(|(parameter, value)| parameter.set(&mut device, value));
        Parameter::Host.set(&mut device, micros);
        device
    };
    let ends = HOST_STARTS.map(|micros| search_from(samples, Point::new(samples, from(micros))));
    let [one, other] = ends;
    if one.objective <= other.objective { one.device } else { other.device }
}

/// How far single parameters are moved where the steps end, in logarithms.
const POLLS: [f64; 3] = [0.25, 0.1, 0.04];

/// Steps until none is better; then every parameter alone, farther and nearer, and steps again from what is better. Step
/// times bend where another op begins to decide, and slopes do not see behind a bend.
fn search_from(samples: &[&Sample], start: Point) -> Point {
    let mut best = descend(samples, start);
    for by in POLLS {
        while let Some(better) = poll(samples, &best, by) {
            let gained = best.objective - better.objective;
            best = descend(samples, better);
            if gained < 1e-3 {
                break;
            }
        }
    }
    best
}

/// The best of the points around one, if it is better.
fn poll(samples: &[&Sample], at: &Point, by: f64) -> Option<Point> {
    let around = (0..COUNT).flat_map(|index| [by, -by].map(|by| (index, by)));
    let point = |(index, by): (usize, f64)| Point::new(samples, at.moved_alone(index, by));
    let best = around.map(point).min_by(|a, b| a.objective.total_cmp(&b.objective));
    best.filter(|point| point.objective < at.objective - 1e-5)
}

/// A device with what it predicts: the logarithms of predicted over measured step times.
struct Point {
    device: Device,
    errors: Vec<f64>,
    objective: f64,
}

impl Point {
    fn new(samples: &[&Sample], device: Device) -> Self {
        let ratio = |(sample, seconds): (&&Sample, f64)| (seconds / sample.measured_step_s).ln();
        let errors: Vec<f64> = samples.iter().zip(predictions(samples, &device)).map(ratio).collect();
        let objective = weighted(samples, &errors);
        Self { device, errors, objective }
    }

    /// The same with every parameter multiplied by the exponential of its step, as far as it is physical.
    fn moved(&self, step: &[f64; COUNT]) -> Device {
        let mut device = self.device.clone();
        for (parameter, step) in Parameter::ALL.into_iter().zip(step) {
            parameter.set(&mut device, parameter.get(&self.device) * step.clamp(-0.5, 0.5).exp());
        }
        device
    }

    /// The same with one parameter moved.
    fn moved_alone(&self, index: usize, by: f64) -> Device {
        let mut step = [0.0; COUNT];
        step[index] = by;
        self.moved(&step)
    }
}

/// Least absolute errors by reweighted least squares (Schlossmacher 1973) with damped steps (Levenberg 1944) in the
/// logarithms of the parameters; derivatives are differences.
fn descend(samples: &[&Sample], mut best: Point) -> Point {
    let mut damping = 1e-2;
    for _ in 0..STEPS {
        let slopes = slopes(samples, &best);
        let better = [1.0, 10.0, 100.0, 1000.0].into_iter().find_map(|more| {
            let step = solve(normal_equations(samples, &best, &slopes, damping * more))?;
            let point = Point::new(samples, best.moved(&step));
            (point.objective < best.objective).then_some((point, damping * more))
        });
        let Some((point, used)) = better else { break };
        let gained = best.objective - point.objective;
        (best, damping) = (point, (used * 0.3).clamp(1e-4, 1.0));
        if gained < 1e-4 {
            break;
        }
    }
    best
}

const COUNT: usize = Parameter::ALL.len();

/// How the errors change with the logarithm of every parameter, where it can move.
fn slopes(samples: &[&Sample], at: &Point) -> Vec<Vec<f64>> {
    let slope = |index: usize| {
        let tried = [0.03, -0.03].map(|by| {
            let device = at.moved_alone(index, by);
            let moved = (Parameter::ALL[index].get(&device) / Parameter::ALL[index].get(&at.device)).ln();
            (device, moved)
        });
        // At a bound it moves the other way only.
        let [(up, by), (down, other)] = tried;
        let (device, by) = if by.abs() > 0.02 { (up, by) } else { (down, other) };
        let errors = Point::new(samples, device).errors;
        errors.iter().zip(&at.errors).map(|(moved, here)| (moved - here) / by).collect()
    };
    (0..COUNT).map(slope).collect()
}

/// Errors below this are as good as none.
const FINE: f64 = 0.01;

/// The rows of the damped normal equations, each with its right side.
fn normal_equations(samples: &[&Sample], at: &Point, slopes: &[Vec<f64>], damping: f64) -> [[f64; COUNT + 1]; COUNT] {
    let weight = |(root, error): (f64, &f64)| {
        if error.abs() > MOST { 0.0 } else { 1.0 / root / error.abs().max(FINE) }
    };
    let weights: Vec<f64> = roots(samples).into_iter().zip(&at.errors).map(weight).collect();
    let sum = |a: &[f64], b: &[f64]| -> f64 { weights.iter().zip(a).zip(b).map(|((w, a), b)| w * a * b).sum() };
    let mut rows = [[0.0; COUNT + 1]; COUNT];
    for (i, row) in rows.iter_mut().enumerate() {
        for j in 0..COUNT {
            row[j] = sum(&slopes[i], &slopes[j]);
        }
        row[COUNT] = -sum(&slopes[i], &at.errors);
        row[i] += damping * weights.iter().sum::<f64>();
    }
    rows
}

/// Gaussian elimination with pivoting; none when the matrix is singular.
fn solve(mut rows: [[f64; COUNT + 1]; COUNT]) -> Option<[f64; COUNT]> {
    for i in 0..COUNT {
        let pivot = (i..COUNT).max_by(|&a, &b| rows[a][i].abs().total_cmp(&rows[b][i].abs()))?;
        rows.swap(i, pivot);
        if rows[i][i].abs() < 1e-12 {
            return None;
        }
        for k in 0..COUNT {
            let factor = if k == i { 0.0 } else { rows[k][i] / rows[i][i] };
            let row = rows[i];
            rows[k].iter_mut().zip(row).for_each(|(value, above)| *value -= factor * above);
        }
    }
    Some(std::array::from_fn(|i| rows[i][COUNT] / rows[i][i]))
}

/// For every sample the root of the rows of its source.
fn roots(samples: &[&Sample]) -> Vec<f64> {
    let mut counts: BTreeMap<&str, f64> = BTreeMap::new();
    for sample in samples {
        *counts.entry(&sample.source).or_default() += 1.0;
    }
    samples.iter().map(|sample| counts[sample.source.as_str()].sqrt()).collect()
}

/// Mean over sources, weighted by the root of their rows, of the mean absolute logarithm of predicted over measured
/// time, capped for each row.
pub(super) fn objective(samples: &[&Sample], fitted: &Device) -> f64 {
    Point::new(samples, fitted.clone()).objective
}

fn weighted(samples: &[&Sample], errors: &[f64]) -> f64 {
    let roots = roots(samples);
    let sum: f64 = roots.iter().zip(errors).map(|(root, error)| error.abs().min(MOST) / root).sum();
    // A source of n rows adds n / √n, the root of its rows.
    let weights: f64 = roots.iter().map(|root| 1.0 / root).sum();
    sum / weights.max(1.0)
}

/// Seconds of every sample's step, worked out by two threads.
fn predictions(samples: &[&Sample], fitted: &Device) -> Vec<f64> {
    let all = |samples: &[&Sample]| samples.iter().map(|sample| predicted(sample, fitted)).collect::<Vec<_>>();
    let (first, second) = samples.split_at(samples.len() / 2);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| all(second));
        let mut seconds = all(first);
        seconds.extend(other.join().unwrap_or_default());
        seconds
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equations_are_solved_and_singular_ones_refused() {
        // Every unknown once, in another order, so that rows must be swapped.
        let mut rows = [[0.0; COUNT + 1]; COUNT];
        for (i, row) in rows.iter_mut().enumerate() {
            row[(i + 1) % COUNT] = 2.0;
            row[COUNT] = 2.0 * i as f64;
        }
        let solved = solve(rows).expect("regular");
        for i in 0..COUNT {
            assert!((solved[(i + 1) % COUNT] - i as f64).abs() < 1e-12, "{solved:?}");
        }
        rows[0] = [0.0; COUNT + 1];
        assert!(solve(rows).is_none());
    }
}
