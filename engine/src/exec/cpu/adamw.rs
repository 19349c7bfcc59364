//! One AdamW update (Loshchilov & Hutter 2019, algorithm 2), with clipping by the global norm:
//!
//! `g = grad * min(1, clip / (sqrt(norm_sq) + 1e-6))`,
//! `m = beta1 m + (1 - beta1) g`, `v = beta2 v + (1 - beta2) g^2`,
//! `param -= lr * (m/bias1 / (sqrt(v/bias2) + eps) + weight_decay * param)`.
//!
//! `hyper = [lr, beta1, beta2, eps, weight_decay, bias1, bias2, clip, unscale]` with `bias1 = 1 - beta1^t`,
//! `bias2 = 1 - beta2^t`. Gradients and their norm are multiplied by `unscale` first, 1 over the loss scale.
//! It is a buffer because it changes with every step while the recording stays.
//! A `clip` of 0 or less means no clipping; the first `decayed` elements have weight decay: parameters of a flat group are ordered so.

use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`adamw`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct AdamwParams {
    /// Number of elements.
    pub n: u32,
    /// Elements with weight decay; they come first.
    pub decayed: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 2],
}

impl KernelParams for AdamwParams {
    const KERNEL: Kernel = Kernel::Adamw;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Updates `param`, `m` and `v`.
pub fn adamw<T: Real>(
    grad: &[T],
    norm_sq: &[T],
    hyper: &[T],
    param: &mut [T],
    m: &mut [T],
    v: &mut [T],
    p: &AdamwParams,
) {
    let factor = gradient_factor(hyper[7], hyper[8], norm_sq[0]);
    if !norm_sq[0].is_finite() {
        return;
    }
    for i in 0..p.n as usize {
        [m[i], v[i]] = step(grad[i] * factor, hyper, [m[i], v[i]], &mut param[i], i < p.decayed as usize);
    }
}

/// Updates a parameter by an unscaled and clipped gradient; returns its moments.
pub(super) fn step<T: Real>(g: T, hyper: &[T], [m, v]: [T; 2], param: &mut T, decays: bool) -> [T; 2] {
    let [lr, beta1, beta2, eps] = [hyper[0], hyper[1], hyper[2], hyper[3]];
    let mean = beta1 * m + (T::one() - beta1) * g;
    let square = beta2 * v + (T::one() - beta2) * g * g;
    let weight_decay = if decays { hyper[4] } else { T::zero() };
    let update = mean / hyper[5] / ((square / hyper[6]).sqrt() + eps);
    *param -= lr * (update + weight_decay * *param);
    [mean, square]
}

/// By what gradients are multiplied: by 1 / loss scale, and so that their norm is at most `clip`, where that is above 0.
pub(super) fn gradient_factor<T: Real>(clip: T, unscale: T, norm_sq: T) -> T {
    if clip <= T::zero() {
        return unscale;
    }
    unscale * T::one().min(clip / (norm_sq.sqrt() * unscale + real(1e-6)))
}
