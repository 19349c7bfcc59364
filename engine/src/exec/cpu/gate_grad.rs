//! Gradient of `gate`: `dgate[i] = dy[i] * x[2 i + 1]`, `dup[i] = dy[i] * gate[i]`.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`gate_grad`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct GateGradParams {
    /// Elements of the result, or of what comes in.
    pub n: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 3],
}

impl KernelParams for GateGradParams {
    const KERNEL: Kernel = Kernel::GateGrad;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Writes what it names.
pub fn gate_grad<T: Real>(x: &[T], gate: &[T], dy: &[T], dgate: &mut [T], dup: &mut [T], p: &GateGradParams) {
    for i in 0..p.n as usize {
        dgate[i] = dy[i] * x[2 * i + 1];
        dup[i] = dy[i] * gate[i];
    }
}
