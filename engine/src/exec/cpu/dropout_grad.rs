//! Gradient of `dropout`: `dx = dy * scale` where the mask says 1, 0 elsewhere.

use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`dropout_grad`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct DropoutGradParams {
    /// Number of elements.
    pub n: u32,
    /// Factor on what is kept.
    pub scale: f32,
    /// Fills up 16 bytes.
    pub pad: [u32; 2],
}

impl KernelParams for DropoutGradParams {
    const KERNEL: Kernel = Kernel::DropoutGrad;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Writes `dx`.
pub fn dropout_grad<T: Real>(dy: &[T], mask: &[u32], dx: &mut [T], p: &DropoutGradParams) {
    for i in 0..p.n as usize {
        let kept = (mask[i / 4] >> (i % 4 * 8)) & 1 == 1;
        dx[i] = if kept { dy[i] * real(p.scale) } else { T::zero() };
    }
}
