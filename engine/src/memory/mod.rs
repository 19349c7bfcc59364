//! The memory of a device: what a rank asks for in a step, and what the ways of handing it out make of that.
//!
//! * [`Course`] is what a rank asks for, op by op: values that begin to live, are used, and end.
//! * `best_fit`, `reservation` and `paging` make a [`Plan`] of a course ahead: which buffers there are, what lies in which,
//!   and what is copied away and back. The executor follows the same plans (`exec::pool`).
//! * `allocators` hand out addresses while a step runs, as a framework's do.
//! * [`MemoryMap`] is a step on any of them: what lies where when, and what it takes of the device.

mod allocators;
mod best_fit;
mod course;
mod map;
mod paging;
mod plan;
mod reservation;
mod usage;

pub use allocators::{Allocator, Bump, Caching, Held, Mapping, Offsets};
pub use best_fit::Pool;
pub use course::{Course, Key, Moment, Value, ValueId};
pub use map::{Block, Failure, MemoryMap, Region, peak};
pub use plan::{Move, Plan, Spot, Step};
pub use usage::Usage;

use crate::scenario::PoolPolicy;
use crate::units::Bytes;

/// A budget for paging is smaller than what one op needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the ops of a rank need at least {needed} ({} B) on the device at a time; run.pool_budget is {budget}: raise it, or leave it out to run with the least", needed.0
)]
pub struct BudgetTooSmall {
    /// What is needed at least.
    pub needed: Bytes,
    /// What may be used.
    pub budget: Bytes,
}

/// The share of what is reserved that is unused even when most is in use.
pub fn fragmentation(allocated: Bytes, reserved: Bytes) -> f64 {
    1.0 - allocated.as_f64() / reserved.as_f64().max(1.0)
}

/// What a policy makes of a course.
///
/// # Errors
/// When a budget is smaller than what one op needs.
pub fn plan(course: &Course, policy: PoolPolicy) -> Result<Plan, BudgetTooSmall> {
    match policy {
        PoolPolicy::BestFit => Ok(best_fit::plan(course)),
        PoolPolicy::Reservation => Ok(reservation::plan(course)),
        PoolPolicy::Paging { budget } => paging::plan(course, budget),
    }
}
