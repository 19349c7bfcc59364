//! Gradient of `rms_norm` for its weight: `dw[j] += sum_t dy * x * rstd`.
//!
//! `x` and `dy` are `[T, cols]`, `stats[T]` holds `rstd`.
//! The shader has one invocation per column; the twin goes row by row, which is kinder to its cache and adds in the same
//! order.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`rms_norm_grad_params`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct RmsNormGradParamsParams {
    /// Rows, one per token.
    pub rows: u32,
    /// Columns of a row.
    pub cols: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 2],
}

impl KernelParams for RmsNormGradParamsParams {
    const KERNEL: Kernel = Kernel::RmsNormGradParams;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.cols)
    }
}

/// Adds to `dw`.
pub fn rms_norm_grad_params<T: Real>(x: &[T], stats: &[T], dy: &[T], dw: &mut [T], p: &RmsNormGradParamsParams) {
    let cols = p.cols as usize;
    for t in 0..p.rows as usize {
        for j in 0..cols {
            dw[j] += dy[t * cols + j] * x[t * cols + j] * stats[t];
        }
    }
}
