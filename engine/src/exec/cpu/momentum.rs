//! One update with momentum (Polyak 1964; Sutskever et al. 2013): `m = beta1 m + g`, `param -= lr * m`, with `g` clipped by
//! the global norm.
//!
//! `hyper` and clipping are as in `adamw`.

use super::Real;
use super::adamw::gradient_factor;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`momentum`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct MomentumParams {
    /// Number of parameters.
    pub n: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 3],
}

impl KernelParams for MomentumParams {
    const KERNEL: Kernel = Kernel::Momentum;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Updates `param` and `m`.
pub fn momentum<T: Real>(grad: &[T], norm_sq: &[T], hyper: &[T], param: &mut [T], m: &mut [T], p: &MomentumParams) {
    let factor = gradient_factor(hyper[7], hyper[8], norm_sq[0]);
    if !norm_sq[0].is_finite() {
        return;
    }
    for i in 0..p.n as usize {
        m[i] = hyper[1] * m[i] + grad[i] * factor;
        param[i] -= hyper[0] * m[i];
    }
}
