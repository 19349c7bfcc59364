//! Copy of a part of a buffer: `dst[dst_offset + i] = src[src_offset + i]`, as a rank sends a chunk to another.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`copy`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct CopyParams {
    /// Number of elements.
    pub n: u32,
    /// First element that is read.
    pub src_offset: u32,
    /// First element that is written.
    pub dst_offset: u32,
    /// Fills up 16 bytes.
    pub pad: u32,
}

impl KernelParams for CopyParams {
    const KERNEL: Kernel = Kernel::Copy;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Writes `dst`.
pub fn copy<T: Real>(src: &[T], dst: &mut [T], p: &CopyParams) {
    let (source, target) = (p.src_offset as usize, p.dst_offset as usize);
    let n = p.n as usize;
    dst[target..][..n].copy_from_slice(&src[source..][..n]);
}
