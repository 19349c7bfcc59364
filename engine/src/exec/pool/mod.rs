//! The memory of ranks: lifetimes are known, so what lies in which buffer when is planned before anything runs.
//!
//! The policies are those of `memory`, which makes a plan of what a rank asks for in a step, op by op; `rank` follows it
//! while the step is recorded.

mod rank;
#[cfg(test)]
mod tests;

use std::rc::Rc;

use serde::Serialize;

pub use rank::{Page, RankMemory};

use super::{BufferId, ExecError};
use crate::graph::StepGraph;
use crate::graph::passes::plan_memory::saved;
use crate::memory::{BudgetTooSmall, Course, Plan, Pool, Usage, fragmentation, plan};
use crate::scenario::{PoolName, PoolPolicy};
use crate::trace::MemoryUse;
use crate::units::Bytes;

/// Copies between the device's buffers and those that stand for the host's memory, in a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// How many.
    pub moves: u32,
    /// Of how many bytes.
    pub bytes: Bytes,
}

impl Traffic {
    /// Counts one more.
    pub fn add(&mut self, bytes: Bytes) {
        self.moves += 1;
        self.bytes += bytes;
    }
}

/// What the pool of a rank has handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStatistics {
    /// In use on the device, as tensors are rounded.
    pub usage: Usage,
    /// Buffers on the device, used or not.
    pub reserved: Bytes,
    /// Buffers that stand for the host's memory.
    pub away: Bytes,
    /// What was written there in a step.
    pub out: Traffic,
    /// What was read from there in a step.
    pub back: Traffic,
}

impl PoolStatistics {
    /// What a pool has handed out that never moves anything.
    pub fn of<Buffer: Copy + Ord>(pool: &Pool<Buffer>) -> Self {
        Self { usage: *pool.usage(), reserved: pool.reserved(), ..Self::default() }
    }

    /// The share of what is reserved that is unused even when most is in use.
    pub fn fragmentation(&self) -> f64 {
        fragmentation(self.usage.at_peak.total(), self.reserved)
    }
}

/// What a policy would do for the ranks of a stage, from the plan alone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PoolForecast {
    /// The pipeline stage.
    pub stage: u32,
    /// By which policy.
    pub policy: PoolName,
    /// The most that is in use on the device at once, by category.
    pub at_peak: MemoryUse,
    /// The same in all.
    pub allocated: Bytes,
    /// Buffers of the device.
    pub reserved: Bytes,
    /// The share of them that is unused even when most is in use.
    pub fragmentation: f64,
    /// Buffers in the host's memory.
    pub away: Bytes,
    /// What is written there in a step.
    pub out: Traffic,
    /// What is read from there in a step.
    pub back: Traffic,
    /// No policy can do with less on the device.
    pub least: Bytes,
}

/// What each policy would do for a rank of each stage; paging with `budget`, or with as little as possible.
///
/// # Errors
/// When the budget is smaller than what one op needs.
pub fn forecast(step: &StepGraph, budget: Option<Bytes>) -> Result<Vec<PoolForecast>, ExecError> {
    let mut rows = Vec::new();
    for policy in PoolName::ALL {
        for (stage, (course, plan)) in plans(step, policy.with_budget(budget))?.iter().enumerate() {
            let statistics = played(course, plan);
            let PoolStatistics { usage, reserved, away, out, back } = statistics;
            rows.push(PoolForecast {
                stage: u32::try_from(stage).unwrap_or(u32::MAX),
                policy,
                at_peak: usage.at_peak,
                allocated: usage.at_peak.total(),
                reserved,
                fragmentation: statistics.fragmentation(),
                away,
                out,
                back,
                least: course.largest_by_position().into_iter().sum(),
            });
        }
    }
    rows.sort_by_key(|row| row.stage);
    Ok(rows)
}

/// What the ranks of a stage need, and what lies where for it.
pub type Planned = (Rc<Course>, Rc<Plan>);

/// Course and plan of every stage.
///
/// # Errors
/// When a budget is smaller than what one op of any stage needs.
pub fn plans(step: &StepGraph, policy: PoolPolicy) -> Result<Vec<Planned>, ExecError> {
    let stages = step.stages.iter().enumerate();
    let courses: Vec<_> = stages.map(|(index, stage)| Course::of(step, index, &saved(step, stage))).collect();
    if let PoolPolicy::Paging { budget: Some(budget) } = policy {
        let needed = courses.iter().map(|course| course.largest_by_position().into_iter().sum()).max();
        if let Some(needed) = needed.filter(|&needed| needed > budget) {
            return Err(BudgetTooSmall { needed, budget }.into());
        }
    }
    let planned = |course: Course| {
        let plan = plan(&course, policy)?;
        Ok((Rc::new(course), Rc::new(plan)))
    };
    courses.into_iter().map(planned).collect()
}

/// What a plan hands out and moves in a step.
fn played(course: &Rc<Course>, plan: &Rc<Plan>) -> PoolStatistics {
    let mut memory = RankMemory::new(Rc::clone(course), Rc::clone(plan), |_| BufferId(0));
    for _ in &course.moments {
        memory.enter();
        memory.leave();
    }
    memory.end();
    memory.statistics()
}
