//! One update of stochastic gradient descent: `param -= lr * g`, with `g` clipped by the global norm.
//!
//! `hyper` and clipping are as in `adamw`.

use super::Real;
use super::adamw::gradient_factor;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`sgd`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct SgdParams {
    /// Number of parameters.
    pub n: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 3],
}

impl KernelParams for SgdParams {
    const KERNEL: Kernel = Kernel::Sgd;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Updates `param`.
pub fn sgd<T: Real>(grad: &[T], norm_sq: &[T], hyper: &[T], param: &mut [T], p: &SgdParams) {
    let step = hyper[0] * gradient_factor(hyper[7], hyper[8], norm_sq[0]);
    if !norm_sq[0].is_finite() {
        return;
    }
    for i in 0..p.n as usize {
        param[i] -= grad[i] * step;
    }
}
