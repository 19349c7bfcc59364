//! The passes of the lowering, one file each. None knows anything of cost.

pub mod budget;
pub mod compress;
pub mod context;
pub mod differentiate;
pub mod experts;
pub mod forward;
pub mod load;
pub mod offload;
pub mod optimize;
pub mod overlap;
pub mod plan_memory;
pub mod precision;
pub mod recompute;
pub mod schedule;
pub mod shard;
mod waiting;
