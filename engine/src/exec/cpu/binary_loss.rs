//! Binary cross entropy of all rows: `loss[0] += scale * sum_t (max(z, 0) - z * target + ln(1 + exp(-|z|)))` with `z = logits[t]`.
//!
//! One workgroup sums lane by lane and then as a tree, so the order of the sum never changes.

use super::{Real, lane_sum, real};
use crate::exec::kernel::{Kernel, KernelParams};

/// Parameters of [`binary_loss`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct BinaryLossParams {
    /// Rows, one per sample.
    pub rows: u32,
    /// Factor on the sum.
    pub scale: f32,
    /// Fills up 16 bytes.
    pub pad: [u32; 2],
}

impl KernelParams for BinaryLossParams {
    const KERNEL: Kernel = Kernel::BinaryLoss;

    fn grid(&self) -> [u32; 3] {
        [1, 1, 1]
    }
}

/// Adds to `loss`.
pub fn binary_loss<T: Real>(logits: &[T], targets: &[u32], loss: &mut [T], p: &BinaryLossParams) {
    let sum = lane_sum(p.rows as usize, |t| {
        let z = logits[t];
        z.max(T::zero()) - z * real(targets[t]) + (-z.abs()).exp().ln_1p()
    });
    loss[0] += real::<T>(p.scale) * sum;
}
