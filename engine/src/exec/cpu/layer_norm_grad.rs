//! Gradient of `layer_norm` for its input: `dx = rstd * (g - mean(g) - xhat * mean(g * xhat))`
//! with `g = dy * w` and `xhat = (x - mean) * rstd`.
//!
//! `x`, `dy` and `dx` are `[T, cols]`, `w` is `[cols]`, `stats[T, 2]` holds `mean` and `rstd`.

use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`layer_norm_grad`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct LayerNormGradParams {
    /// Rows, one per token.
    pub rows: u32,
    /// Columns of a row.
    pub cols: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 2],
}

impl KernelParams for LayerNormGradParams {
    const KERNEL: Kernel = Kernel::LayerNormGrad;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.rows)
    }
}

/// Writes `dx`.
pub fn layer_norm_grad<T: Real>(x: &[T], w: &[T], stats: &[T], dy: &[T], dx: &mut [T], p: &LayerNormGradParams) {
    let cols = p.cols as usize;
    for t in 0..p.rows as usize {
        let row = t * cols;
        let (mean, rstd) = (stats[2 * t], stats[2 * t + 1]);
        let (mut sum_g, mut sum_gx) = (T::zero(), T::zero());
        for j in 0..cols {
            let g = dy[row + j] * w[j];
            sum_g += g;
            sum_gx += g * (x[row + j] - mean) * rstd;
        }
        let (mean_g, mean_gx) = (sum_g / real(p.cols), sum_gx / real(p.cols));
        for j in 0..cols {
            let xhat = (x[row + j] - mean) * rstd;
            dx[row + j] = rstd * (dy[row + j] * w[j] - mean_g - xhat * mean_gx);
        }
    }
}
