//! Hyperbolic tangent: `y = tanh(x)`.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`tanh`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct TanhParams {
    /// Number of elements.
    pub n: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 3],
}

impl KernelParams for TanhParams {
    const KERNEL: Kernel = Kernel::Tanh;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Writes `y`.
pub fn tanh<T: Real>(x: &[T], y: &mut [T], p: &TanhParams) {
    for i in 0..p.n as usize {
        y[i] = x[i].tanh();
    }
}
