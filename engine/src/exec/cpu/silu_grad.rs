//! Gradient of `silu`, joined with that of the factors: `dx[2 i] = dgate[i] * silu'(x[2 i])`, `dx[2 i + 1] = dup[i]`.

use super::Real;
use super::swiglu::sigmoid;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`silu_grad`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct SiluGradParams {
    /// Elements of the result, or of what comes in.
    pub n: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 3],
}

impl KernelParams for SiluGradParams {
    const KERNEL: Kernel = Kernel::SiluGrad;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Writes what it names.
pub fn silu_grad<T: Real>(x: &[T], dgate: &[T], dup: &[T], dx: &mut [T], p: &SiluGradParams) {
    for i in 0..p.n as usize {
        let s = sigmoid(x[2 * i]);
        dx[2 * i] = dgate[i] * s * (T::one() + x[2 * i] * (T::one() - s));
        dx[2 * i + 1] = dup[i];
    }
}
