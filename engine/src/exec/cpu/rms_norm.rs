//! Root mean square norm over each row (Zhang & Sennrich 2019): `y = x * rstd * w` with `rstd = 1 / sqrt(mean(x^2) + eps)`.
//!
//! `x` and `y` are `[T, cols]`, `w` is `[cols]`, `stats[T]` keeps `rstd` for the gradients.

use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`rms_norm`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct RmsNormParams {
    /// Rows, one per token.
    pub rows: u32,
    /// Columns of a row.
    pub cols: u32,
    /// Keeps the root away from zero.
    pub eps: f32,
    /// Fills up 16 bytes.
    pub pad: [u32; 1],
}

impl KernelParams for RmsNormParams {
    const KERNEL: Kernel = Kernel::RmsNorm;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.rows)
    }
}

/// Writes `y` and `stats`.
pub fn rms_norm<T: Real>(x: &[T], w: &[T], y: &mut [T], stats: &mut [T], p: &RmsNormParams) {
    let cols = p.cols as usize;
    for t in 0..p.rows as usize {
        let row = t * cols;
        let mut squares = T::zero();
        for j in 0..cols {
            squares += x[row + j] * x[row + j];
        }
        let rstd = T::one() / (squares / real(p.cols) + real(p.eps)).sqrt();
        for j in 0..cols {
            y[row + j] = x[row + j] * rstd * w[j];
        }
        stats[t] = rstd;
    }
}
