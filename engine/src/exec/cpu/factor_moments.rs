//! Moments from sums of squares that several ranks have added up: `moments = beta2 moments + (1 - beta2) factor^2 sums`, where
//! `factor` unscales and clips the gradient as in `adamw`. A norm that is not finite changes nothing.

use super::Real;
use super::adamw::gradient_factor;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`factor_moments`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct FactorMomentsParams {
    /// Number of sums.
    pub n: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 3],
}

impl KernelParams for FactorMomentsParams {
    const KERNEL: Kernel = Kernel::FactorMoments;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Updates `moments`.
pub fn factor_moments<T: Real>(norm_sq: &[T], hyper: &[T], sums: &[T], moments: &mut [T], p: &FactorMomentsParams) {
    if !norm_sq[0].is_finite() {
        return;
    }
    let factor = gradient_factor(hyper[7], hyper[8], norm_sq[0]);
    for i in 0..p.n as usize {
        moments[i] = hyper[2] * moments[i] + (T::one() - hyper[2]) * factor * factor * sums[i];
    }
}
