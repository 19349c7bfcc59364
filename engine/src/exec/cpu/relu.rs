//! Rectified linear unit: `y = max(x, 0)`.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`relu`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct ReluParams {
    /// Number of elements.
    pub n: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 3],
}

impl KernelParams for ReluParams {
    const KERNEL: Kernel = Kernel::Relu;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Writes `y`.
pub fn relu<T: Real>(x: &[T], y: &mut [T], p: &ReluParams) {
    for i in 0..p.n as usize {
        y[i] = x[i].max(T::zero());
    }
}
