//! Gradient of `batch_norm`: with `h = (x - mean) * rstd`, `a = sum of dy` and `b = sum of dy * h` over a channel,
//! `dx = weight * rstd * (dy - a / rows - h * b / rows)` (Ioffe & Szegedy 2015, section 3).
//!
//! `sums[cols, 2]` gets `a` and `b`, which are the gradients of shift and weight.
//! A workgroup of the shader has a channel; it sums by lanes, and then over them.

use super::batch_norm::lane_sum;
use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams};

/// Parameters of [`batch_norm_grad`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct BatchNormGradParams {
    /// Pixels of all images.
    pub rows: u32,
    /// Channels.
    pub cols: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 2],
}

impl KernelParams for BatchNormGradParams {
    const KERNEL: Kernel = Kernel::BatchNormGrad;

    fn grid(&self) -> [u32; 3] {
        [self.cols, 1, 1]
    }
}

/// Writes `dx` and `sums`.
pub fn batch_norm_grad<T: Real>(
    x: &[T],
    weight: &[T],
    stats: &[T],
    dy: &[T],
    dx: &mut [T],
    sums: &mut [T],
    p: &BatchNormGradParams,
) {
    let (rows, cols) = (p.rows as usize, p.cols as usize);
    let n = real::<T>(p.rows);
    for c in 0..cols {
        let (mean, rstd) = (stats[2 * c], stats[2 * c + 1]);
        let h = |t: usize| (x[t * cols + c] - mean) * rstd;
        let a = lane_sum(rows, |t| dy[t * cols + c]);
        let b = lane_sum(rows, |t| dy[t * cols + c] * h(t));
        for t in 0..rows {
            dx[t * cols + c] = weight[c] * rstd * (dy[t * cols + c] - a / n - h(t) * b / n);
        }
        (sums[2 * c], sums[2 * c + 1]) = (a, b);
    }
}
