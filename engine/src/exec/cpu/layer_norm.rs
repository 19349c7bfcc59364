//! Layer norm over each row: `y = (x - mean) * rstd * w + b` with `rstd = 1 / sqrt(var + eps)`.
//!
//! `x` and `y` are `[T, cols]`, `w` and `b` are `[cols]`, `stats[T, 2]` keeps `mean` and `rstd` for the gradients.

use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`layer_norm`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct LayerNormParams {
    /// Rows, one per token.
    pub rows: u32,
    /// Columns of a row.
    pub cols: u32,
    /// Keeps the root away from zero.
    pub eps: f32,
    /// Fills up 16 bytes.
    pub pad: [u32; 1],
}

impl KernelParams for LayerNormParams {
    const KERNEL: Kernel = Kernel::LayerNorm;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.rows)
    }
}

/// Writes `y` and `stats`.
pub fn layer_norm<T: Real>(x: &[T], w: &[T], b: &[T], y: &mut [T], stats: &mut [T], p: &LayerNormParams) {
    let cols = p.cols as usize;
    for t in 0..p.rows as usize {
        let row = t * cols;
        let mut sum = T::zero();
        for j in 0..cols {
            sum += x[row + j];
        }
        let mean = sum / real(p.cols);
        let mut squares = T::zero();
        for j in 0..cols {
            squares += (x[row + j] - mean) * (x[row + j] - mean);
        }
        let rstd = T::one() / (squares / real(p.cols) + real(p.eps)).sqrt();
        for j in 0..cols {
            y[row + j] = (x[row + j] - mean) * rstd * w[j] + b[j];
        }
        stats[2 * t] = mean;
        stats[2 * t + 1] = rstd;
    }
}
