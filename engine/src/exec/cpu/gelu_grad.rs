//! Gradient of `gelu`:
//! `dx = dy * ((1 + tanh(u))/2 + x/2 * (1 - tanh(u)^2) * u')` with `u' = sqrt(2/pi) * (1 + 3 * 0.044715 x^2)`.

use super::gelu::{CUBIC, ROOT};
use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`gelu_grad`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct GeluGradParams {
    /// Number of elements.
    pub n: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 3],
}

impl KernelParams for GeluGradParams {
    const KERNEL: Kernel = Kernel::GeluGrad;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Writes `dx`.
pub fn gelu_grad<T: Real>(x: &[T], dy: &[T], dx: &mut [T], p: &GeluGradParams) {
    for i in 0..p.n as usize {
        let (half, one) = (real::<T>(0.5), T::one());
        let (root, cubic) = (real::<T>(ROOT), real::<T>(CUBIC));
        let th = (root * (x[i] + cubic * x[i] * x[i] * x[i])).tanh();
        let du = root * (one + real::<T>(3.0) * cubic * x[i] * x[i]);
        dx[i] = dy[i] * (half * (one + th) + half * x[i] * (one - th * th) * du);
    }
}
