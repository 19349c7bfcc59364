//! The first of the two kernels that SwiGLU is where nothing is fused: `y[i] = silu(x[2 i])`, of interleaved gates and
//! factors.

use super::Real;
use super::swiglu::sigmoid;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`silu`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct SiluParams {
    /// Elements of the result, or of what comes in.
    pub n: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 3],
}

impl KernelParams for SiluParams {
    const KERNEL: Kernel = Kernel::Silu;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Writes what it names.
pub fn silu<T: Real>(x: &[T], y: &mut [T], p: &SiluParams) {
    for i in 0..p.n as usize {
        y[i] = x[2 * i] * sigmoid(x[2 * i]);
    }
}
