//! Gradient of `tanh` from its result: `dx = dy * (1 - y^2)`.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`tanh_grad`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct TanhGradParams {
    /// Number of elements.
    pub n: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 3],
}

impl KernelParams for TanhGradParams {
    const KERNEL: Kernel = Kernel::TanhGrad;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Writes `dx`.
pub fn tanh_grad<T: Real>(y: &[T], dy: &[T], dx: &mut [T], p: &TanhGradParams) {
    for i in 0..p.n as usize {
        dx[i] = dy[i] * (T::one() - y[i] * y[i]);
    }
}
