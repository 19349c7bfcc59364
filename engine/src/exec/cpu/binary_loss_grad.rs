//! Gradient of `binary_loss`: `dlogits[t] = (1 / (1 + exp(-logits[t])) - target) * scale`.

use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`binary_loss_grad`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct BinaryLossGradParams {
    /// Rows, one per sample.
    pub rows: u32,
    /// Factor on the loss.
    pub scale: f32,
    /// Fills up 16 bytes.
    pub pad: [u32; 2],
}

impl KernelParams for BinaryLossGradParams {
    const KERNEL: Kernel = Kernel::BinaryLossGrad;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.rows)
    }
}

impl BinaryLossGradParams {
    /// The word with the scale.
    pub(in crate::exec) const SCALE: usize = 1;
}

/// Writes `dlogits`.
pub fn binary_loss_grad<T: Real>(logits: &[T], targets: &[u32], dlogits: &mut [T], p: &BinaryLossGradParams) {
    for t in 0..p.rows as usize {
        let e = (-logits[t].abs()).exp();
        let probability = if logits[t] >= T::zero() { T::one() } else { e } / (T::one() + e);
        dlogits[t] = (probability - real(targets[t])) * real(p.scale);
    }
}
