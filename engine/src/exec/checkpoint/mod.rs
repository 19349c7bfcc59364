//! What a run can go on from, and where it is kept.
//!
//! * `file` is what every rank keeps from step to step, as one safetensors file;
//! * `set` is the same as one file or one for each rank, compressed or not, with an index that has the checksum of each;
//! * `folder` keeps the last of them on disk, so that there is a whole one at any moment.

mod file;
#[cfg(not(target_arch = "wasm32"))]
mod folder;
mod set;
#[cfg(test)]
mod tests;

pub use file::{Checkpoint, Made, Progress, Saved, unusable};
#[cfg(not(target_arch = "wasm32"))]
pub use folder::{CheckpointFolder, Found, write_aside};
pub use set::{CheckpointForm, FileEntry, INDEX, Index, Packed, Stored};
