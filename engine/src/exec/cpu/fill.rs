//! One value everywhere: `out = value`.

use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`fill`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct FillParams {
    /// Number of elements.
    pub n: u32,
    /// The value.
    pub value: f32,
    /// Fills up 16 bytes.
    pub pad: [u32; 2],
}

impl KernelParams for FillParams {
    const KERNEL: Kernel = Kernel::Fill;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Writes `out`.
pub fn fill<T: Real>(out: &mut [T], p: &FillParams) {
    for i in 0..p.n as usize {
        out[i] = real(p.value);
    }
}
