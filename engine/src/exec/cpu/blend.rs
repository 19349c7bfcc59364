//! A weighted sum, in place: `dst = from * src + keep * dst`.

use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`blend`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct BlendParams {
    /// Number of elements.
    pub n: u32,
    /// Factor on `src`.
    pub from: f32,
    /// Factor on what is there.
    pub keep: f32,
    /// First element of `src`.
    pub src_offset: u32,
    /// First element of `dst`.
    pub dst_offset: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 3],
}

impl KernelParams for BlendParams {
    const KERNEL: Kernel = Kernel::Blend;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Writes `dst`.
pub fn blend<T: Real>(src: &[T], dst: &mut [T], p: &BlendParams) {
    for i in 0..p.n as usize {
        let dst = &mut dst[p.dst_offset as usize + i];
        *dst = real::<T>(p.from) * src[p.src_offset as usize + i] + real::<T>(p.keep) * *dst;
    }
}
