//! Sum of each column: `out[j] += sum_t x[t, j]`, the gradient of a bias. Rows begin `stride` elements apart.
//!
//! The shader has one invocation per column; the twin goes row by row, which is kinder to its cache and adds in the same
//! order.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`column_sum`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct ColumnSumParams {
    /// Rows, one per token.
    pub rows: u32,
    /// Columns of a row.
    pub cols: u32,
    /// Elements from a row to the next.
    pub stride: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 1],
}

impl KernelParams for ColumnSumParams {
    const KERNEL: Kernel = Kernel::ColumnSum;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.cols)
    }
}

/// Adds to `out`.
pub fn column_sum<T: Real>(x: &[T], out: &mut [T], p: &ColumnSumParams) {
    let cols = p.cols as usize;
    for t in 0..p.rows as usize {
        for j in 0..cols {
            out[j] += x[t * p.stride as usize + j];
        }
    }
}
