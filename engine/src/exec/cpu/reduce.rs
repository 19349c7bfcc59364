//! The arithmetic of a collective: adds a received chunk to a part of a buffer, or takes the larger.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`reduce`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct ReduceParams {
    /// Number of elements.
    pub n: u32,
    /// 0 adds, 1 takes the larger.
    pub op: u32,
    /// First element of `dst`.
    pub dst_offset: u32,
    /// Fills up 16 bytes.
    pub pad: u32,
}

impl KernelParams for ReduceParams {
    const KERNEL: Kernel = Kernel::Reduce;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Updates `dst`.
pub fn reduce<T: Real>(src: &[T], dst: &mut [T], p: &ReduceParams) {
    let target = p.dst_offset as usize;
    for i in 0..p.n as usize {
        let j = target + i;
        dst[j] = if p.op == 0 { dst[j] + src[i] } else { dst[j].max(src[i]) };
    }
}
