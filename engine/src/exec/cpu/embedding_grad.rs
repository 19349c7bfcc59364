//! Gradient of `embedding` for its table: `dtable[id - vocab_offset, :] += sum of dout[t, :] over t with ids[t] = id`.
//!
//! The shader gathers: each table element looks through all rows, so nothing races.
//! The twin has one thread and scatters row by row, which adds in the same order.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

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
        elementwise_grid(self.vocab_local * self.cols)
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
