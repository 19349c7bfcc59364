//! Fits a device's few physical parameters to measured runs.
//!
//! Rows are split: every second one is fitted, the others only scored. The objective is the mean over sources of the
//! mean absolute logarithm of predicted over measured time, a source weighted by the root of its rows: many rows say
//! more than few, but not by as much, and being twice too fast is as bad as being twice too slow. A row counts `MOST` at most: what is farther
//! off has another cause than the parameters. The search starts from the same point whatever was fitted before, so it is
//! deterministic.

use std::collections::BTreeMap;

use super::{Built, Measurement, build};
use crate::cluster::Device;
use crate::graph::{StepGraph, lower};
use crate::scenario::Scenario;
use crate::sim::step_time;
use crate::units::Nanos;

/// What is fitted, in the order in which it is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parameter {
    Matmul,
    Eager,
    Attention,
    Memory,
    Host,
    Launch,
}

impl Parameter {
    const ALL: [Self; 6] = [Self::Matmul, Self::Eager, Self::Host, Self::Memory, Self::Attention, Self::Launch];

    fn get(self, device: &Device) -> f64 {
        match self {
            Self::Matmul => device.matmul_efficiency,
            Self::Eager => device.eager_share,
            Self::Attention => device.attention_efficiency,
            Self::Memory => device.memory_efficiency,
            Self::Host => device.host_dispatch.secs() * 1e6,
            Self::Launch => device.launch_overhead.secs() * 1e6,
        }
    }

    /// Sets a value as far as it is physical: streaming kernels reach some 85 % of a datasheet's bandwidth at best and
    /// three fifths at worst; an op of the graph is up to half a dozen kernels of a framework, of some microseconds at least
    /// each.
    fn set(self, device: &mut Device, value: f64) {
        match self {
            Self::Matmul => device.matmul_efficiency = value.clamp(0.2, 0.95),
            Self::Eager => device.eager_share = value.clamp(0.5, 1.0),
            Self::Attention => device.attention_efficiency = value.clamp(0.1, 0.85),
            Self::Memory => device.memory_efficiency = value.clamp(0.6, 0.85),
            #[expect(clippy::cast_possible_truncation, reason = "some microseconds")]
            Self::Host => device.host_dispatch = Nanos((value.clamp(0.0, 250.0) * 1e3).round() as i64),
            #[expect(clippy::cast_possible_truncation, reason = "some microseconds")]
            Self::Launch => device.launch_overhead = Nanos((value.clamp(3.0, 30.0) * 1e3).round() as i64),
        }
    }
}

/// A measured run, lowered: the graph does not depend on the device.
struct Sample {
    source: String,
    scenario: Scenario,
    step: StepGraph,
    measured_step_s: f64,
}

/// The fitted parameters of the devices of a family.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// Device presets that share them.
    pub devices: Vec<String>,
    /// Share of the peak that the best large matmul reaches.
    pub matmul_efficiency: f64,
    /// Share of it that matmuls of eager kernels reach.
    pub eager_share: f64,
    /// Share of the matmul peak that attention kernels reach.
    pub attention_efficiency: f64,
    /// Share of the memory bandwidth that a streaming kernel reaches.
    pub memory_efficiency: f64,
    /// Time that the host takes to issue one op.
    pub host_dispatch: Nanos,
    /// Time that an op takes at least.
    pub launch_overhead: Nanos,
    /// Rows that were fitted, and rows that were only scored.
    pub rows: [usize; 2],
    /// Measured over predicted step time of the rows that were only scored: tenth and ninetieth percentile.
    pub residuals: [f64; 2],
    /// The objective on both before the fit.
    pub before: [f64; 2],
    /// The objective on both after it.
    pub after: [f64; 2],
}

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

/// Rows of one source and device that are looked at, at most: more of the same say little new.
const ROWS_PER_SOURCE: usize = 160;

/// Fewer rows than this do not determine six parameters.
const FEWEST_ROWS: usize = 12;

/// Fits every family of devices that has enough rows. `progress` is told the share done and returns whether to go on.
pub fn fit(measurements: &[Measurement], progress: &mut dyn FnMut(f32) -> bool) -> Vec<Fitted> {
    let families = families(measurements);
    let mut fitted = Vec::new();
    let count = families.len();
    for (index, (devices, built)) in families.into_iter().enumerate() {
        if built.len() >= FEWEST_ROWS && progress(index as f32 / count as f32) {
            fitted.push(fit_family(devices, built));
        }
    }
    fitted
}

/// Devices that share what is fitted, with their rows and the rows' sources.
type Family = (Vec<String>, Vec<(String, Built)>);

/// Built rows by family: variants of one chip share what is fitted.
fn families(measurements: &[Measurement]) -> Vec<Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for measurement in measurements {
        let Ok(built) = build(measurement) else { continue };
        let device = built.scenario.cluster().device.name.clone();
        let (_, rows) = families.entry(family(&device).to_owned()).or_insert_with(|| (variants(&device), Vec::new()));
        rows.push((measurement.source_key.clone(), built));
    }
    families.into_values().map(|(devices, rows)| (devices, thinned(rows))).collect()
}

/// All presets with the chip of one.
fn variants(device: &str) -> Vec<String> {
    crate::cluster::presets().keys().filter(|name| family(name) == family(device)).cloned().collect()
}

/// The chip of a device preset: it is the same with other memory or links, as is the H100's and the B300's on a Grace board.
fn family(device: &str) -> &str {
    match device.split('-').next().unwrap_or_default() {
        // These begin with the name of a series.
        "rtx" | "tpu" | "apple" => device,
        "h200" | "gh200" | "h800" => "h100",
        "a800" => "a100",
        "gb300" => "b300",
        chip => chip,
    }
}

/// Of every source every so many rows, evenly.
fn thinned(rows: Vec<(String, Built)>) -> Vec<(String, Built)> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (source, _) in &rows {
        *counts.entry(source.clone()).or_default() += 1;
    }
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let kept = |(source, _): &(String, Built)| {
        let (seen, count) = (seen.entry(source.clone()).or_default(), counts.get(source).copied().unwrap_or(0));
        *seen += 1;
        (*seen - 1).is_multiple_of(count.div_ceil(ROWS_PER_SOURCE).max(1))
    };
    rows.into_iter().filter(kept).collect()
}

fn fit_family(devices: Vec<String>, built: Vec<(String, Built)>) -> Fitted {
    let lowered = |(source, built): (String, Built)| Sample {
        source,
        step: lower(&built.scenario),
        scenario: built.scenario,
        measured_step_s: built.measured_step_s,
    };
    let samples: Vec<Sample> = built.into_iter().map(lowered).collect();
    let half = |odd: usize| samples.iter().enumerate().filter(move |(i, _)| i % 2 == odd).map(|(_, s)| s).collect();
    let halves: [Vec<&Sample>; 2] = [half(0), half(1)];
    let start = samples[0].scenario.cluster().device.clone();
    let found = search(&halves[0], &start);
    let both = |device: &Device| [objective(&halves[0], device), objective(&halves[1], device)];
    Fitted {
        devices,
        matmul_efficiency: found.matmul_efficiency,
        eager_share: found.eager_share,
        attention_efficiency: found.attention_efficiency,
        memory_efficiency: found.memory_efficiency,
        host_dispatch: found.host_dispatch,
        launch_overhead: found.launch_overhead,
        rows: [halves[0].len(), halves[1].len()],
        residuals: residuals(&halves[1], &found),
        before: both(&start),
        after: both(&found),
    }
}

/// The tenth and the ninetieth percentile of measured over predicted step time.
fn residuals(samples: &[&Sample], fitted: &Device) -> [f64; 2] {
    let mut ratios: Vec<f64> =
        samples.iter().map(|sample| sample.measured_step_s / predicted(sample, fitted)).collect();
    ratios.sort_by(f64::total_cmp);
    let last = ratios.len().saturating_sub(1);
    let at = |tenths: usize| ratios.get((last * tenths + 5) / 10).copied().unwrap_or(1.0);
    [at(1), at(9)]
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

/// Seconds of a sample's step on its cluster with what is fitted.
fn predicted(sample: &Sample, fitted: &Device) -> f64 {
    let mut cluster = sample.scenario.cluster().clone();
    for parameter in Parameter::ALL {
        parameter.set(&mut cluster.device, parameter.get(fitted));
    }
    step_time(&sample.step, &sample.scenario.on_cluster(cluster)).secs()
}

/// Where the search starts for the host: below what a model's kernels take it has no effect that could be followed.
const HOST_STARTS: [f64; 2] = [20.0, 100.0];

/// Steps of the search at most.
const STEPS: usize = 16;

fn search(samples: &[&Sample], start: &Device) -> Device {
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
    let point = |(index, by): (usize, f64)| {
        let mut step = [0.0; COUNT];
        step[index] = by;
        Point::new(samples, at.moved(&step))
    };
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
            let mut step = [0.0; COUNT];
            step[index] = by;
            let device = at.moved(&step);
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
    let counts = counts(samples);
    let weight = |(sample, error): (&&Sample, &f64)| {
        let n = counts.get(sample.source.as_str()).copied().unwrap_or(1.0);
        if error.abs() > MOST { 0.0 } else { 1.0 / n.sqrt() / error.abs().max(FINE) }
    };
    let weights: Vec<f64> = samples.iter().zip(&at.errors).map(weight).collect();
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

/// Rows of every source.
fn counts<'a>(samples: &[&'a Sample]) -> BTreeMap<&'a str, f64> {
    let mut counts = BTreeMap::new();
    for sample in samples {
        *counts.entry(sample.source.as_str()).or_default() += 1.0;
    }
    counts
}

/// Mean over sources, weighted by the root of their rows, of the mean absolute logarithm of predicted over measured
/// time, capped for each row.
fn objective(samples: &[&Sample], fitted: &Device) -> f64 {
    Point::new(samples, fitted.clone()).objective
}

fn weighted(samples: &[&Sample], errors: &[f64]) -> f64 {
    let counts = counts(samples);
    let share = |(sample, error): (&&Sample, &f64)| {
        error.abs().min(MOST) / counts.get(sample.source.as_str()).copied().unwrap_or(1.0).sqrt()
    };
    let sum: f64 = samples.iter().zip(errors).map(share).sum();
    sum / counts.values().map(|n| n.sqrt()).sum::<f64>().max(1.0)
}
