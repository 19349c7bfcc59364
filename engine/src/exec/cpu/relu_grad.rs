//! Gradient of `relu` from its result: `dx = y > 0 ? dy : 0`.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`relu_grad`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct ReluGradParams {
    /// Number of elements.
    pub n: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 3],
}

impl KernelParams for ReluGradParams {
    const KERNEL: Kernel = Kernel::ReluGrad;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Writes `dx`.
pub fn relu_grad<T: Real>(y: &[T], dy: &[T], dx: &mut [T], p: &ReluGradParams) {
    for i in 0..p.n as usize {
        dx[i] = if y[i] > T::zero() { dy[i] } else { T::zero() };
    }
}
