//! GELU in the tanh approximation of GPT-2 (Hendrycks & Gimpel 2016):
//! `y = x/2 * (1 + tanh(u))` with `u = sqrt(2/pi) * (x + 0.044715 x^3)`.

use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`gelu`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct GeluParams {
    /// Number of elements.
    pub n: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 3],
}

impl KernelParams for GeluParams {
    const KERNEL: Kernel = Kernel::Gelu;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Writes `y`.
pub fn gelu<T: Real>(x: &[T], y: &mut [T], p: &GeluParams) {
    for i in 0..p.n as usize {
        let u = real::<T>(ROOT) * (x[i] + real::<T>(CUBIC) * x[i] * x[i] * x[i]);
        y[i] = real::<T>(0.5) * x[i] * (T::one() + u.tanh());
    }
}

/// `sqrt(2 / pi)`
pub(super) const ROOT: f64 = 0.797_884_560_802_865_4;
pub(super) const CUBIC: f64 = 0.044_715;
