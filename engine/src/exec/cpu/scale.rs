//! Product with a number, in place: `x = x * factor`.

use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`scale`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct ScaleParams {
    /// Number of elements.
    pub n: u32,
    /// The factor.
    pub factor: f32,
    /// Fills up 16 bytes.
    pub pad: [u32; 2],
}

impl KernelParams for ScaleParams {
    const KERNEL: Kernel = Kernel::Scale;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Updates `x`.
pub fn scale<T: Real>(x: &mut [T], p: &ScaleParams) {
    for i in 0..p.n as usize {
        x[i] *= real(p.factor);
    }
}
