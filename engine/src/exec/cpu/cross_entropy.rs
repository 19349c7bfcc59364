//! Cross entropy of all rows: `loss[0] += scale * sum_t (ln(s) - z)`.
//!
//! `stats[T, 2]` holds `s = sum_j exp(logit - m)` and `z = logit[target] - m`, reduced over the vocabulary shards.
//! One workgroup sums lane by lane and then as a tree, so the order of the sum never changes.

use super::{Real, lane_sum, real};
use crate::exec::kernel::{Kernel, KernelParams};

/// Parameters of [`cross_entropy`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct CrossEntropyParams {
    /// Rows, one per token.
    pub rows: u32,
    /// Factor on the sum, for a mean one over the tokens.
    pub scale: f32,
    /// Fills up 16 bytes.
    pub pad: [u32; 2],
}

impl KernelParams for CrossEntropyParams {
    const KERNEL: Kernel = Kernel::CrossEntropy;

    fn grid(&self) -> [u32; 3] {
        [1, 1, 1]
    }
}

/// Adds to `loss`.
pub fn cross_entropy<T: Real>(stats: &[T], loss: &mut [T], p: &CrossEntropyParams) {
    let nll = |t: usize| stats[2 * t].ln() - stats[2 * t + 1];
    loss[0] += real::<T>(p.scale) * lane_sum(p.rows as usize, nll);
}
