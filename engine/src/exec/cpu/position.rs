//! Learned positions: `out[t, :] = x[t, :] + table[((row_offset + t) mod seq * stride + first) / group, :]`.
//!
//! `x` and `out` are `[T, cols]`, `table` is `[seq * stride / group, cols]`.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`position`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct PositionParams {
    /// Rows, one per token.
    pub rows: u32,
    /// Columns of a row.
    pub cols: u32,
    /// Tokens of a sequence that this rank has.
    pub seq: u32,
    /// Number of the first row.
    pub row_offset: u32,
    /// Positions from a row to the next.
    pub stride: u32,
    /// The first position that this rank has.
    pub first: u32,
    /// Neighbouring positions that share a row of the table.
    pub group: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 1],
}

impl KernelParams for PositionParams {
    const KERNEL: Kernel = Kernel::Position;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.rows * self.cols)
    }
}

/// Writes `out`.
pub fn position<T: Real>(x: &[T], table: &[T], out: &mut [T], p: &PositionParams) {
    let cols = p.cols as usize;
    for i in 0..p.rows as usize * cols {
        let local = (p.row_offset as usize + i / cols) % p.seq as usize;
        let position = local * p.stride as usize + p.first as usize;
        out[i] = x[i] + table[position / p.group as usize * cols + i % cols];
    }
}
