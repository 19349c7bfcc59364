//! Sum of two buffers: `c = a + b`.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`add`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct AddParams {
    /// Number of elements.
    pub n: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 3],
}

impl KernelParams for AddParams {
    const KERNEL: Kernel = Kernel::Add;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Writes `c`.
pub fn add<T: Real>(a: &[T], b: &[T], c: &mut [T], p: &AddParams) {
    for i in 0..p.n as usize {
        c[i] = a[i] + b[i];
    }
}
