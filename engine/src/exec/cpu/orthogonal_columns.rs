//! Makes the columns of a thin matrix orthogonal and of length one, one after the other, in place (the modified Gram-Schmidt
//! process; Vogels et al. 2019, "PowerSGD", algorithm 1, line 5). A column that the others leave nothing of becomes zero.
//!
//! One workgroup of the shader goes through the matrix, which begins at element `offset`.

use super::{Real, lane_sum, real};
use crate::exec::kernel::{Kernel, KernelParams};

/// Parameters of [`orthogonal_columns`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct OrthogonalColumnsParams {
    /// Rows.
    pub rows: u32,
    /// Columns.
    pub cols: u32,
    /// First element.
    pub offset: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 1],
}

impl KernelParams for OrthogonalColumnsParams {
    const KERNEL: Kernel = Kernel::OrthogonalColumns;

    fn grid(&self) -> [u32; 3] {
        [1, 1, 1]
    }
}

/// Updates `x`.
pub fn orthogonal_columns<T: Real>(x: &mut [T], p: &OrthogonalColumnsParams) {
    let (rows, cols) = (p.rows as usize, p.cols as usize);
    let x = &mut x[p.offset as usize..][..rows * cols];
    for j in 0..cols {
        let length = lane_sum(rows, |i| x[i * cols + j] * x[i * cols + j]).sqrt() + real(1e-8);
        for i in 0..rows {
            x[i * cols + j] /= length;
        }
        for k in j + 1..cols {
            let along = lane_sum(rows, |i| x[i * cols + j] * x[i * cols + k]);
            for i in 0..rows {
                let of_first = x[i * cols + j];
                x[i * cols + k] -= along * of_first;
            }
        }
    }
}
