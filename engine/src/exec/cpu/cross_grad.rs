//! Gradient of `cross` for the first input and the product: `dx0 = dy * u`, `du = dy * x0`; that for `x` is `dy`.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`cross_grad`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct CrossGradParams {
    /// Number of elements.
    pub n: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 3],
}

impl KernelParams for CrossGradParams {
    const KERNEL: Kernel = Kernel::CrossGrad;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Writes `dx0` and `du`.
pub fn cross_grad<T: Real>(x0: &[T], u: &[T], dy: &[T], dx0: &mut [T], du: &mut [T], p: &CrossGradParams) {
    for i in 0..p.n as usize {
        dx0[i] = dy[i] * u[i];
        du[i] = dy[i] * x0[i];
    }
}
