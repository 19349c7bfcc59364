//! Fits a device's few physical parameters to measured runs.
//!
//! Rows are split: every second one is fitted, the others only scored. The objective is the mean over sources of the
//! mean absolute logarithm of predicted over measured time, a source weighted by the root of its rows: many rows say
//! more than few, but not by as much, and being twice too fast is as bad as being twice too slow. A row counts 0.4 at most: what
//! is farther off has another cause than the parameters. `descent` searches.

use std::collections::BTreeMap;

mod descent;

use descent::{objective, search};

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

/// Seconds of a sample's step on its cluster with what is fitted.
fn predicted(sample: &Sample, fitted: &Device) -> f64 {
    let mut cluster = sample.scenario.cluster().clone();
    for parameter in Parameter::ALL {
        parameter.set(&mut cluster.device, parameter.get(fitted));
    }
    step_time(&sample.step, &sample.scenario.on_cluster(cluster)).secs()
}
