//! Some rows of every sequence: `y[r, :] = x[g / per * seq + positions[g], :]` with `g = first + r`.
//!
//! `y` is `[rows, cols]`, a part of all rows that are picked; `x` has `seq` rows for each sequence, of which `per` are picked by
//! their place in it.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`gather_rows`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct GatherRowsParams {
    /// Rows of `y`.
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

impl KernelParams for GatherRowsParams {
    const KERNEL: Kernel = Kernel::GatherRows;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.rows * self.cols)
    }
}

/// Writes `y`.
pub fn gather_rows<T: Real>(x: &[T], positions: &[u32], y: &mut [T], p: &GatherRowsParams) {
    let cols = p.cols as usize;
    for i in 0..p.rows as usize * cols {
        let g = p.first as usize + i / cols;
        let row = g / p.per as usize * p.seq as usize + positions[g] as usize;
        y[i] = x[row * cols + i % cols];
    }
}
