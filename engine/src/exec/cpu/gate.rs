//! The second of the two kernels that SwiGLU is where nothing is fused: `y[i] = gate[i] * x[2 i + 1]`.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`gate`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct GateParams {
    /// Elements of the result, or of what comes in.
    pub n: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 3],
}

impl KernelParams for GateParams {
    const KERNEL: Kernel = Kernel::Gate;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Writes what it names.
pub fn gate<T: Real>(x: &[T], gate: &[T], y: &mut [T], p: &GateParams) {
    for i in 0..p.n as usize {
        y[i] = gate[i] * x[2 * i + 1];
    }
}
