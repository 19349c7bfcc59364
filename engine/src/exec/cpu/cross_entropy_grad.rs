//! Gradient of `cross_entropy` for the logits of this vocabulary shard:
//! `dlogits[t, j] = (exp(logits[t, j] - m[t]) / s[t] - [j = target]) * scale`, and 0 in padded columns.
//!
//! `logits` and `dlogits` are `[T, cols]`, `m[T]` is the row maximum over all shards, `stats[T, 2]` holds `s` first,
//! `targets[T]` are token ids.

use super::row_max::valid_columns;
use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`cross_entropy_grad`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct CrossEntropyGradParams {
    /// Rows, one per token.
    pub rows: u32,
    /// Columns of a row: the vocabulary shard with its padding.
    pub cols: u32,
    /// First token id of this shard.
    pub vocab_offset: u32,
    /// Token ids in all; columns beyond are padding.
    pub vocab_total: u32,
    /// Factor on the loss.
    pub scale: f32,
    /// Fills up 16 bytes.
    pub pad: [u32; 3],
}

impl CrossEntropyGradParams {
    /// The word with the scale.
    pub(in crate::exec) const SCALE: usize = 4;
}

impl KernelParams for CrossEntropyGradParams {
    const KERNEL: Kernel = Kernel::CrossEntropyGrad;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.rows * self.cols)
    }
}

/// Writes `dlogits`.
pub fn cross_entropy_grad<T: Real>(
    logits: &[T],
    m: &[T],
    stats: &[T],
    targets: &[u32],
    dlogits: &mut [T],
    p: &CrossEntropyGradParams,
) {
    let cols = p.cols as usize;
    let valid = valid_columns(p.cols, p.vocab_offset, p.vocab_total);
    for i in 0..p.rows as usize * cols {
        let (t, j) = (i / cols, i % cols);
        if j >= valid {
            dlogits[i] = T::zero();
            continue;
        }
        let probability = (logits[i] - m[t]).exp() / stats[2 * t];
        let label = targets[t].wrapping_sub(p.vocab_offset) as usize;
        let hit = if j == label { T::one() } else { T::zero() };
        dlogits[i] = (probability - hit) * real(p.scale);
    }
}
