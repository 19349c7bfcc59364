//! What can be executed on one device, and what of it fits: said from the scenario and its plan, before anything runs.

use super::ExecError;
use super::pool::plans;
use crate::graph::{ALLOCATION_ALIGNMENT, Dims, Op, OpKind, StepGraph, lower};
use crate::model::Recommender;
use crate::scenario::{PlacementName, PoolPolicy, Precision, Scenario, UpdateRule, ZeroStage};
use crate::units::Bytes;

/// Ranks that share one device, at most.
const MAX_RANKS: u32 = 16;

/// Op instances that are recorded, at most.
const MAX_OPS: usize = 200_000;

/// Whether the scenario can be executed on one device; says why not.
pub fn executable(scenario: &Scenario) -> Result<(), ExecError> {
    if scenario.strategy().precision.is_emulated() && scenario.strategy().zero != ZeroStage::None {
        return Err(ExecError::NarrowSharded(scenario.strategy().precision.name()));
    }
    let placement = scenario.run().placement.kind;
    if cfg!(target_arch = "wasm32") && placement != PlacementName::Device {
        return Err(ExecError::Placement(placement.name()));
    }
    if scenario.strategy().separate_groups() > 1 && scenario.strategy().layout().copies() > 1 {
        return Err(ExecError::UpdateRule);
    }
    let apart = scenario.strategy().update != UpdateRule::Synchronous;
    if scenario.strategy().precision == Precision::Fp16
        && (apart || scenario.strategy().compression.has_error_feedback())
    {
        return Err(ExecError::Overflow);
    }
    if scenario.strategy().update == UpdateRule::Asynchronous && scenario.run().gradient_clip > 0.0 {
        return Err(ExecError::Clipping);
    }
    match scenario.model() {
        model if model.recommender.as_ref().is_some_and(|tables| !divides_tables(tables, scenario.mesh().ep)) => {
            return Err(ExecError::Tables);
        }
        model if !model.architecture.is_decoder() && !divides_samples(scenario) => return Err(ExecError::Samples),
        model if model.mixture.is_some() && !divides_capacity(scenario) => return Err(ExecError::Capacity),
        _ => {}
    }
    let ranks = scenario.mesh().ranks();
    if ranks > MAX_RANKS {
        return Err(ExecError::TooManyRanks { ranks, most: MAX_RANKS });
    }
    super::data::fits(scenario)
}

/// Whether every rank over which sequence parallelism spreads rows has as many of those that are picked of samples.
fn divides_samples(scenario: &Scenario) -> bool {
    let strategy = scenario.strategy();
    !strategy.sequence_parallel || strategy.micro_batch.is_multiple_of(strategy.tensor_parallel)
}

/// Whether every rank has as many tables, and of as many rows and lookups.
fn divides_tables(recommender: &Recommender, ranks: u32) -> bool {
    let alike = |list: &[u32]| list.windows(2).all(|pair| pair[0] == pair[1]);
    let even = alike(&recommender.table_rows) && alike(&recommender.lookups);
    ranks == 1 || even && recommender.tables().is_multiple_of(ranks)
}

/// Whether every rank of the tensor group has as many rows of an expert.
fn divides_capacity(scenario: &Scenario) -> bool {
    let dims = Dims::of(scenario);
    dims.expert_capacity.is_multiple_of(dims.stream_ranks)
}

/// Whether a scenario can be executed on one device, and its lowered step stays within the limits of an execution; says why
/// not, from the plan.
///
/// # Errors
/// What stands in the way first.
pub fn executable_step(scenario: &Scenario, step: &StepGraph) -> Result<(), ExecError> {
    executable(scenario)?;
    within_limits(step, scenario)
}

/// Lowers a scenario that can be executed on one device; says why it cannot before anything is lowered or opened in vain.
///
/// # Errors
/// What stands in the way first.
pub fn executable_graph(scenario: &Scenario) -> Result<StepGraph, ExecError> {
    executable(scenario)?;
    let step = lower(scenario);
    within_limits(&step, scenario)?;
    if let PoolPolicy::Paging { budget: Some(_) } = scenario.run().pool {
        plans(&step, scenario.run().pool)?;
    }
    Ok(step)
}

/// Whether kernels can be bound to each run of rows that a rank has of the residual stream: that of learned positions at
/// the run's first byte, those of dropout at whole words of their masks.
fn is_aligned(step: &StepGraph) -> bool {
    let blocks = u64::from(step.dims.stream_blocks);
    let written = |op: &Op| step.tensor(op.writes[0]);
    let fits = |op: &Op| match op.kind {
        OpKind::Position => (written(op).bytes().0 / blocks).is_multiple_of(ALLOCATION_ALIGNMENT),
        OpKind::Dropout | OpKind::Residual { .. } if op.writes.len() > 1 => {
            (written(op).local.elements() / blocks).is_multiple_of(4)
        }
        _ => true,
    };
    blocks == 1 || step.ops().all(fits)
}

/// Whether the lowered step stays within the limits of an execution.
pub fn within_limits(step: &StepGraph, scenario: &Scenario) -> Result<(), ExecError> {
    if !is_aligned(step) {
        return Err(ExecError::TensorChunks);
    }
    let per_stage = u64::from(step.mesh.per_stage());
    let needed = Bytes(step.stages.iter().map(|stage| stage.memory.at_peak.total().0 * per_stage).sum());
    let limit = scenario.run().memory_limit;
    if needed > limit {
        return Err(ExecError::TooMuchMemory { needed, limit });
    }
    let ops = step.op_instances() * usize::try_from(per_stage).unwrap_or(usize::MAX);
    if ops > MAX_OPS {
        return Err(ExecError::TooManyOps { ops, most: MAX_OPS });
    }
    Ok(())
}
