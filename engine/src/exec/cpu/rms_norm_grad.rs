//! Gradient of `rms_norm` for its input: `dx = rstd * (g - xhat * mean(g * xhat))` with `g = dy * w` and `xhat = x * rstd`.
//!
//! `x`, `dy` and `dx` are `[T, cols]`, `w` is `[cols]`, `stats[T]` holds `rstd`.

use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`rms_norm_grad`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct RmsNormGradParams {
    /// Rows, one per token.
    pub rows: u32,
    /// Columns of a row.
    pub cols: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 2],
}

impl KernelParams for RmsNormGradParams {
    const KERNEL: Kernel = Kernel::RmsNormGrad;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.rows)
    }
}

/// Writes `dx`.
pub fn rms_norm_grad<T: Real>(x: &[T], w: &[T], stats: &[T], dy: &[T], dx: &mut [T], p: &RmsNormGradParams) {
    let cols = p.cols as usize;
    for t in 0..p.rows as usize {
        let row = t * cols;
        let rstd = stats[t];
        let mut sum_gx = T::zero();
        for j in 0..cols {
            sum_gx += dy[row + j] * w[j] * x[row + j] * rstd;
        }
        let mean_gx = sum_gx / real(p.cols);
        for j in 0..cols {
            dx[row + j] = rstd * (dy[row + j] * w[j] - x[row + j] * rstd * mean_gx);
        }
    }
}
