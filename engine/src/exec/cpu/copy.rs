//! Copy of a block: `dst[dst_offset + r * dst_stride + c] = src[src_offset + r * src_stride + c]`, as a rank sends it to
//! another.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`copy`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct CopyParams {
    /// Rows of the block.
    pub rows: u32,
    /// Elements of a row.
    pub cols: u32,
    /// First element that is read.
    pub src_offset: u32,
    /// Elements from a row that is read to the next.
    pub src_stride: u32,
    /// First element that is written.
    pub dst_offset: u32,
    /// Elements from a row that is written to the next.
    pub dst_stride: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 2],
}

impl KernelParams for CopyParams {
    const KERNEL: Kernel = Kernel::Copy;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.rows * self.cols)
    }
}

/// Writes `dst`.
pub fn copy<T: Real>(src: &[T], dst: &mut [T], p: &CopyParams) {
    let cols = p.cols as usize;
    for r in 0..p.rows as usize {
        let source = p.src_offset as usize + r * p.src_stride as usize;
        let target = p.dst_offset as usize + r * p.dst_stride as usize;
        dst[target..][..cols].copy_from_slice(&src[source..][..cols]);
    }
}
