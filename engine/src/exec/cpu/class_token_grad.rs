//! Gradient of `class_token` for the other rows: `dx[r, :] = dy[g + g / (seq - 1) + 1, :]` with `g = first + r`.
//!
//! `dx` is `[rows, cols]`, a part of the rows without tokens; `dy` has `seq` rows for each sequence.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`class_token_grad`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct ClassTokenGradParams {
    /// Rows of `dx`.
    pub rows: u32,
    /// Columns of a row.
    pub cols: u32,
    /// Rows of a sequence, with the token.
    pub seq: u32,
    /// Number of the first row that this rank has.
    pub first: u32,
}

impl KernelParams for ClassTokenGradParams {
    const KERNEL: Kernel = Kernel::ClassTokenGrad;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.rows * self.cols)
    }
}

/// Writes `dx`.
pub fn class_token_grad<T: Real>(dy: &[T], dx: &mut [T], p: &ClassTokenGradParams) {
    let (cols, seq) = (p.cols as usize, p.seq as usize);
    for i in 0..p.rows as usize * cols {
        let g = p.first as usize + i / cols;
        dx[i] = dy[(g + g / (seq - 1) + 1) * cols + i % cols];
    }
}
