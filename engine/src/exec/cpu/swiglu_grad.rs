//! Gradient of `swiglu`, with `s = sigmoid(gate)`:
//! `dgate = dy * up * s * (1 + gate * (1 - s))` and `dup = dy * gate * s`.
//!
//! `x` and `dx` are `[T, 2f]` with gate and up interleaved, `dy` is `[T, f]` and `n = T * f`.

use super::Real;
use super::swiglu::sigmoid;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`swiglu_grad`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct SwigluGradParams {
    /// Elements of `dy`.
    pub n: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 3],
}

impl KernelParams for SwigluGradParams {
    const KERNEL: Kernel = Kernel::SwigluGrad;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Writes `dx`.
pub fn swiglu_grad<T: Real>(x: &[T], dy: &[T], dx: &mut [T], p: &SwigluGradParams) {
    for i in 0..p.n as usize {
        let (gate, up) = (x[2 * i], x[2 * i + 1]);
        let s = sigmoid(gate);
        dx[2 * i] = dy[i] * up * s * (T::one() + gate * (T::one() - s));
        dx[2 * i + 1] = dy[i] * gate * s;
    }
}
