//! The passes of the lowering, one file each. None knows anything of cost.

pub mod differentiate;
pub mod forward;
pub mod optimize;
pub mod plan_memory;
pub mod precision;
pub mod recompute;
pub mod schedule;
pub mod shard;
