//! Gradient of `layer_norm` for weight and bias: `dw[j] += sum_t dy * (x - mean) * rstd` and `db[j] += sum_t dy`.
//!
//! `x` and `dy` are `[T, cols]`, `stats[T, 2]` holds `mean` and `rstd`.
//! The shader has one invocation per column; the twin goes row by row, which is kinder to its cache and adds in the same
//! order.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`layer_norm_grad_params`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct LayerNormGradParamsParams {
    /// Rows, one per token.
    pub rows: u32,
    /// Columns of a row.
    pub cols: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 2],
}

impl KernelParams for LayerNormGradParamsParams {
    const KERNEL: Kernel = Kernel::LayerNormGradParams;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.cols)
    }
}

/// Adds to `dw` and `db`.
pub fn layer_norm_grad_params<T: Real>(
    x: &[T],
    stats: &[T],
    dy: &[T],
    dw: &mut [T],
    db: &mut [T],
    p: &LayerNormGradParamsParams,
) {
    let cols = p.cols as usize;
    for t in 0..p.rows as usize {
        for j in 0..cols {
            let g = dy[t * cols + j];
            dw[j] += g * (x[t * cols + j] - stats[2 * t]) * stats[2 * t + 1];
            db[j] += g;
        }
    }
}
