//! Gradient of `position` for its table: `dtable[s, :] += sum of dout[t, :] over t with
//! ((row_offset + t) mod seq * stride + first) / group = s`.
//!
//! The shader gathers: each table element steps through its rows, so nothing races.
//! The twin has one thread and scatters row by row.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`position_grad`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct PositionGradParams {
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

impl KernelParams for PositionGradParams {
    const KERNEL: Kernel = Kernel::PositionGrad;

    fn grid(&self) -> [u32; 3] {
        let last = self.seq.saturating_sub(1) * self.stride + self.first;
        elementwise_grid((last / self.group.max(1) + 1) * self.cols)
    }
}

/// Adds to `dtable`.
pub fn position_grad<T: Real>(dout: &[T], dtable: &mut [T], p: &PositionGradParams) {
    let cols = p.cols as usize;
    for t in 0..p.rows as usize {
        let local = (p.row_offset as usize + t) % p.seq as usize;
        let entry = (local * p.stride as usize + p.first as usize) / p.group as usize;
        for j in 0..cols {
            dtable[entry * cols + j] += dout[t * cols + j];
        }
    }
}
