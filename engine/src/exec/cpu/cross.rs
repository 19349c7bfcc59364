//! A layer of a cross network: `y = x0 * u + x`, element by element (Wang et al. 2021, "DCN V2", equation 2).

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`cross`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct CrossParams {
    /// Number of elements.
    pub n: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 3],
}

impl KernelParams for CrossParams {
    const KERNEL: Kernel = Kernel::Cross;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Writes `y`.
pub fn cross<T: Real>(x0: &[T], x: &[T], u: &[T], y: &mut [T], p: &CrossParams) {
    for i in 0..p.n as usize {
        y[i] = x0[i] * u[i] + x[i];
    }
}
