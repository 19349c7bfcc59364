//! The arithmetic of a collective: adds a part of what was received to a part of a buffer, or takes the larger.

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
    /// First element of `src`.
    pub src_offset: u32,
}

impl KernelParams for ReduceParams {
    const KERNEL: Kernel = Kernel::Reduce;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Updates `dst`.
pub fn reduce<T: Real>(src: &[T], dst: &mut [T], p: &ReduceParams) {
    let src = &src[p.src_offset as usize..][..p.n as usize];
    let dst = &mut dst[p.dst_offset as usize..][..p.n as usize];
    for (y, x) in dst.iter_mut().zip(src) {
        *y = if p.op == 0 { *y + *x } else { y.max(*x) };
    }
}
