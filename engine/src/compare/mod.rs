//! Prediction beside execution: the device is measured, the step predicted with what was measured, then executed.
//!
//! Ranks share the device, so the sum over all ranks is compared, not the step time of a cluster.

#[cfg(not(target_arch = "wasm32"))]
mod checkpoints;
#[cfg(not(target_arch = "wasm32"))]
mod loading;
mod ops;

use ops::{OpTimes, class_rows, op_rows};

use crate::exec::{
    Backend, BackendInfo, Calibration, Calibrator, ExecError, Measured, PoolForecast, Trainer, forecast,
};
use crate::graph::{StepGraph, lower};
use crate::scenario::{PoolName, PoolPolicy, Scenario};
use crate::sim::{Folding, simulate_folded};
use crate::trace::{MemoryUse, Trace};
use crate::units::Nanos;

#[cfg(not(target_arch = "wasm32"))]
pub use checkpoints::{CheckpointReport, CheckpointRow, measure_checkpoints};
#[cfg(not(target_arch = "wasm32"))]
pub use loading::{LoadingOptions, LoadingReport, measure_loading};
pub use ops::{ComparisonRow, OpComparison};

/// A step predicted and executed on the same device.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The device.
    pub backend: BackendInfo,
    /// What was measured of it.
    pub calibration: Calibration,
    /// By class of op, the longest first.
    pub rows: Vec<ComparisonRow>,
    /// By op, the longest first.
    pub ops: Vec<OpComparison>,
    /// Sum of the predicted rows.
    pub predicted_step: Nanos,
    /// Sum of the executed rows.
    pub executed_step: Nanos,
    /// The prediction, every rank on its own.
    pub predicted_trace: Trace,
    /// The last executed step.
    pub executed_trace: Trace,
    /// Peak memory of every stage: planned, and allocated by the pool.
    pub memory: Vec<(u32, MemoryUse, MemoryUse)>,
}

impl Comparison {
    /// Executed over predicted.
    pub fn ratio(&self) -> f64 {
        self.executed_step.secs() / self.predicted_step.secs().max(1e-9)
    }

    /// Whether every stage allocated exactly what was planned.
    pub fn memory_agrees(&self) -> bool {
        self.memory.iter().all(|(_, planned, allocated)| planned == allocated)
    }
}

/// Steps before the first that counts: kernels are compiled in it.
const WARM_UP: u32 = 1;

/// Executes the step `steps` times, measures the device before each, and predicts the step from the medians of what was
/// measured: what else runs on a machine changes from second to second.
///
/// `progress` is told how much is done, from 0 to 1, and returns whether to go on.
pub async fn predict_and_execute(
    scenario: &Scenario,
    mut backend: Backend,
    steps: u32,
    progress: &mut dyn FnMut(f32) -> bool,
) -> Result<Comparison, ExecError> {
    // What is executed is fed from memory.
    let scenario = &scenario.without_input();
    let graph = crate::exec::executable_graph(scenario)?;
    let calibrator = Calibrator::new(&mut backend, Measured::of(scenario));
    let mut measured = Vec::new();
    let mut trainer = Trainer::of_graph(scenario, graph, backend).await?;
    let mut executed = Vec::new();
    let mut last = None;
    let all = steps.max(1) + WARM_UP;
    for step in 0..all {
        if !progress(step as f32 / all as f32) {
            return Err(ExecError::Cancelled);
        }
        measured.push(trainer.calibrate(&calibrator).await?);
        let result = trainer.step().await?;
        if step >= WARM_UP {
            executed.push(OpTimes::of(&result.trace));
        }
        last = Some(result.trace);
    }
    // The first measurement compiles kernels, too.
    let counted = if measured.len() > 1 { &measured[1..] } else { &measured[..] };
    let calibration = Calibration::median(counted).ok_or(ExecError::Cancelled)?;
    // The median of executed steps is one without an outer step, where these are rare.
    let between = scenario.between_outer_steps().filter(|(_, interval)| *interval > 2).map(|(between, _)| between);
    let predicted_trace = match &between {
        Some(between) => predict(between, &lower(between), &calibration),
        None => predict(scenario, trainer.step_graph(), &calibration),
    };
    let mut predicted = OpTimes::of(&predicted_trace);
    let pages = paged(trainer.step_graph(), scenario.run().pool)?;
    add_pages(&mut predicted, &pages, trainer.step_graph().mesh.per_stage(), &calibration);
    let rows = class_rows(&predicted, &executed);
    Ok(Comparison {
        backend: trainer.backend().clone(),
        calibration,
        predicted_step: rows.iter().map(|row| row.predicted).sum(),
        executed_step: rows.iter().map(|row| row.executed).sum(),
        ops: op_rows(&predicted, &executed),
        rows,
        executed_trace: last.unwrap_or_else(|| predicted_trace.clone()),
        predicted_trace,
        memory: memory(&trainer, &pages),
    })
}

/// The step on a cluster whose devices are this one, every rank on its own.
fn predict(scenario: &Scenario, graph: &StepGraph, calibration: &Calibration) -> Trace {
    let cluster = calibration.cluster(scenario.mesh().ranks(), scenario.device_memory());
    let here = scenario.on_cluster(cluster);
    simulate_folded(graph, &here, &Folding::unfolded(here.mesh()))
}

/// What a pool with a budget does for a rank of each stage; nothing of other pools.
fn paged(graph: &StepGraph, policy: PoolPolicy) -> Result<Vec<PoolForecast>, ExecError> {
    let PoolPolicy::Paging { budget } = policy else { return Ok(Vec::new()) };
    Ok(forecast(graph, budget)?.into_iter().filter(|row| row.policy == PoolName::Paging).collect())
}

/// What such a pool moves for `ranks` of each stage: each page is a call, and its bytes are copied.
fn add_pages(times: &mut OpTimes, pages: &[PoolForecast], ranks: u32, calibration: &Calibration) {
    for row in pages {
        for (class, moved) in [("to_host", row.out), ("from_host", row.back)] {
            let calls = calibration.launch_overhead * i64::from(moved.moves);
            let time = calls + moved.bytes / calibration.copy_bandwidth;
            times.add_pages(class, moved.moves * ranks, time * i64::from(ranks));
        }
    }
}

/// Planned and allocated peaks of the first rank of every stage.
fn memory(trainer: &Trainer, pages: &[PoolForecast]) -> Vec<(u32, MemoryUse, MemoryUse)> {
    let graph = trainer.step_graph();
    let planned: Vec<MemoryUse> = match pages {
        [] => graph.stages.iter().map(|stage| stage.memory.at_peak).collect(),
        // What waits outside the device is left out.
        _ => pages.iter().map(|row| row.at_peak).collect(),
    };
    let pools = trainer.pools().iter().step_by(graph.mesh.per_stage() as usize);
    (0..).zip(planned.into_iter().zip(pools)).map(|(n, (planned, pool))| (n, planned, pool.usage.at_peak)).collect()
}
