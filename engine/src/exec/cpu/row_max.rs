//! The largest logit of each row in this vocabulary shard: `out[t] = max_j logits[t, j]` over `vocab_offset + j < vocab_total`.
//!
//! `logits` is `[T, cols]`, `out` is `[T]`.
//! A shard of nothing but padding gives -3e38, which any logit of another shard exceeds.

use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`row_max`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct RowMaxParams {
    /// Rows, one per token.
    pub rows: u32,
    /// Columns of a row: the vocabulary shard with its padding.
    pub cols: u32,
    /// First token id of this shard.
    pub vocab_offset: u32,
    /// Token ids in all; columns beyond are padding.
    pub vocab_total: u32,
}

impl KernelParams for RowMaxParams {
    const KERNEL: Kernel = Kernel::RowMax;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.rows)
    }
}

/// Writes `out`.
pub fn row_max<T: Real>(logits: &[T], out: &mut [T], p: &RowMaxParams) {
    let cols = p.cols as usize;
    let valid = valid_columns(p.cols, p.vocab_offset, p.vocab_total);
    for t in 0..p.rows as usize {
        let mut largest = real::<T>(LOWEST);
        for j in 0..valid {
            largest = largest.max(logits[t * cols + j]);
        }
        out[t] = largest;
    }
}

const LOWEST: f64 = -3.0e38;

/// Columns that hold a logit; the rest is padding.
pub(super) fn valid_columns(cols: u32, vocab_offset: u32, vocab_total: u32) -> usize {
    cols.min(vocab_total.saturating_sub(vocab_offset)) as usize
}
