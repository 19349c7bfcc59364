//! Gradient of `group_norm` for its input: with `h = (x - mean) * rstd`, `g = dy * weight`, `a = sum of g` and `b = sum of
//! g * h` over a group of an image, `dx = rstd * (g - a / n - h * b / n)`.
//!
//! A workgroup of the shader has a group of an image; it sums by lanes, and then over them.

use super::Real;
use super::batch_norm::lane_sum;
use super::group_norm::GroupNormParams;
use crate::exec::kernel::{Kernel, KernelParams};

/// Parameters of [`group_norm_grad`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct GroupNormGradParams(pub GroupNormParams);

impl KernelParams for GroupNormGradParams {
    const KERNEL: Kernel = Kernel::GroupNormGrad;

    fn grid(&self) -> [u32; 3] {
        self.0.grid()
    }
}

/// Writes `dx`.
pub fn group_norm_grad<T: Real>(
    x: &[T],
    weight: &[T],
    stats: &[T],
    dy: &[T],
    dx: &mut [T],
    GroupNormGradParams(p): &GroupNormGradParams,
) {
    let n = p.elements();
    let count = T::of(n as f64);
    for (image, group) in (0..p.images).flat_map(|image| (0..p.groups).map(move |group| (image, group))) {
        let row = (image * p.groups + group) as usize;
        let (mean, rstd) = (stats[2 * row], stats[2 * row + 1]);
        let both = |e: usize| {
            let (i, channel) = p.place(image, group, e);
            (dy[i] * weight[channel], (x[i] - mean) * rstd)
        };
        let a = lane_sum(n, |e| both(e).0);
        let b = lane_sum(n, |e| both(e).0 * both(e).1);
        for e in 0..n {
            let (g, h) = both(e);
            dx[p.place(image, group, e).0] = rstd * (g - a / count - h * b / count);
        }
    }
}
