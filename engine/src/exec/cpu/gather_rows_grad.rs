//! Gradient of `gather_rows`: `dx[t, :] = sum of dy[r, :]` over the rows `r` of its sequence with
//! `positions[r] = (first + t) mod seq`.
//!
//! `dx` is `[rows, cols]`, a part of all rows. Rows that were not picked get zero.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`gather_rows_grad`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct GatherRowsGradParams {
    /// Rows of `dx`.
    pub rows: u32,
    /// Columns of a row.
    pub cols: u32,
    /// Rows that are picked of a sequence.
    pub per: u32,
    /// Rows of a sequence.
    pub seq: u32,
    /// Number of the first row that this rank has.
    pub first: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 3],
}

impl KernelParams for GatherRowsGradParams {
    const KERNEL: Kernel = Kernel::GatherRowsGrad;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.rows * self.cols)
    }
}

/// Writes `dx`.
pub fn gather_rows_grad<T: Real>(dy: &[T], positions: &[u32], dx: &mut [T], p: &GatherRowsGradParams) {
    let (cols, per, seq) = (p.cols as usize, p.per as usize, p.seq as usize);
    for i in 0..p.rows as usize * cols {
        let g = p.first as usize + i / cols;
        let begin = g / seq * per;
        let mut sum = T::zero();
        for r in begin..begin + per {
            if positions[r] as usize == g % seq {
                sum += dy[r * cols + i % cols];
            }
        }
        dx[i] = sum;
    }
}
