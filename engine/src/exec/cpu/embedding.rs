//! Rows of a table: `out[t, :] = table[ids[t] - vocab_offset, :]`, or 0 for ids outside this shard.
//!
//! `ids[T]` are token ids, `table` is `[vocab_local, cols]` and `out` is `[T, cols]`.
//! The sum of `out` over the vocabulary shards is the whole embedding.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`embedding`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct EmbeddingParams {
    /// Rows, one per token.
    pub rows: u32,
    /// Columns of a row.
    pub cols: u32,
    /// First token id of this shard.
    pub vocab_offset: u32,
    /// Token ids in this shard.
    pub vocab_local: u32,
}

impl KernelParams for EmbeddingParams {
    const KERNEL: Kernel = Kernel::Embedding;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.rows * self.cols)
    }
}

/// Writes `out`.
pub fn embedding<T: Real>(ids: &[u32], table: &[T], out: &mut [T], p: &EmbeddingParams) {
    let cols = p.cols as usize;
    for i in 0..p.rows as usize * cols {
        let id = ids[i / cols].wrapping_sub(p.vocab_offset);
        out[i] = if id < p.vocab_local { table[id as usize * cols + i % cols] } else { T::zero() };
    }
}
