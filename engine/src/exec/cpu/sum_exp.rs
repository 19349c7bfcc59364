//! What the cross entropy needs of each row from this vocabulary shard, given `m`, the largest logit over all shards:
//! `out[t] = (sum_j exp(logits[t, j] - m[t]), logits[t, target] - m[t])`, the latter 0 if the target is in another shard.
//!
//! `logits` is `[T, cols]`, `targets[T]` are token ids, `out` is `[T, 2]`; its sum over the shards is the whole.

use super::Real;
use super::row_max::valid_columns;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`sum_exp`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct SumExpParams {
    /// Rows, one per token.
    pub rows: u32,
    /// Columns of a row: the vocabulary shard with its padding.
    pub cols: u32,
    /// First token id of this shard.
    pub vocab_offset: u32,
    /// Token ids in all; columns beyond are padding.
    pub vocab_total: u32,
}

impl KernelParams for SumExpParams {
    const KERNEL: Kernel = Kernel::SumExp;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.rows)
    }
}

/// Writes `out`.
pub fn sum_exp<T: Real>(logits: &[T], m: &[T], targets: &[u32], out: &mut [T], p: &SumExpParams) {
    let cols = p.cols as usize;
    let valid = valid_columns(p.cols, p.vocab_offset, p.vocab_total);
    for t in 0..p.rows as usize {
        let row = t * cols;
        let mut sum = T::zero();
        for j in 0..valid {
            sum += (logits[row + j] - m[t]).exp();
        }
        let label = targets[t].wrapping_sub(p.vocab_offset) as usize;
        out[2 * t] = sum;
        out[2 * t + 1] = if label < valid { logits[row + label] - m[t] } else { T::zero() };
    }
}
