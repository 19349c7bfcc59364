//! A row of its own before those of every sequence: `y[t, :] = g mod seq = 0 ? token : x[g - g / seq - 1, :]` with `g = first + t`.
//!
//! `y` is `[rows, cols]`, a part of all rows; `x` has `seq - 1` rows for each sequence.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`class_token`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct ClassTokenParams {
    /// Rows of `y`.
    pub rows: u32,
    /// Columns of a row.
    pub cols: u32,
    /// Rows of a sequence, with the token.
    pub seq: u32,
    /// Number of the first row that this rank has.
    pub first: u32,
}

impl KernelParams for ClassTokenParams {
    const KERNEL: Kernel = Kernel::ClassToken;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.rows * self.cols)
    }
}

/// Writes `y`.
pub fn class_token<T: Real>(x: &[T], token: &[T], y: &mut [T], p: &ClassTokenParams) {
    let (cols, seq) = (p.cols as usize, p.seq as usize);
    for i in 0..p.rows as usize * cols {
        let (g, j) = (p.first as usize + i / cols, i % cols);
        y[i] = if g.is_multiple_of(seq) { token[j] } else { x[(g - g / seq - 1) * cols + j] };
    }
}
