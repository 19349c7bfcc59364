//! Gradient of `embedding` for its table: `dtable[id - vocab_offset, :] += sum of dout[t, :] over t with ids[t] = id`.
//!
//! An invocation of the shader owns a column of one class of ids, those with the same rest by `CLASSES`, and goes through
//! all rows in order: nothing races, and a row is added once.
//! The twin has one thread and scatters row by row, which adds in the same order.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Classes of ids that are added side by side.
const CLASSES: u32 = 16;

/// Parameters of [`embedding_grad`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct EmbeddingGradParams {
    /// Rows, one per token.
    pub rows: u32,
    /// Columns of a row.
    pub cols: u32,
    /// First token id of this shard.
    pub vocab_offset: u32,
    /// Token ids in this shard.
    pub vocab_local: u32,
}

impl KernelParams for EmbeddingGradParams {
    const KERNEL: Kernel = Kernel::EmbeddingGrad;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.cols * CLASSES)
    }
}

/// Adds to `dtable`.
pub fn embedding_grad<T: Real>(ids: &[u32], dout: &[T], dtable: &mut [T], p: &EmbeddingGradParams) {
    let cols = p.cols as usize;
    for t in 0..p.rows as usize {
        let id = ids[t].wrapping_sub(p.vocab_offset);
        if id < p.vocab_local {
            for j in 0..cols {
                dtable[id as usize * cols + j] += dout[t * cols + j];
            }
        }
    }
}
