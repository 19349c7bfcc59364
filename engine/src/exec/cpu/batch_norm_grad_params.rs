//! Gradients of the weight and the shift of `batch_norm`: `dweight[c] += sums[c, 1]` and `dshift[c] += sums[c, 0]`.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`batch_norm_grad_params`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct BatchNormGradParamsParams {
    /// Channels.
    pub cols: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 3],
}

impl KernelParams for BatchNormGradParamsParams {
    const KERNEL: Kernel = Kernel::BatchNormGradParams;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.cols)
    }
}

/// Adds to `dweight` and `dshift`.
pub fn batch_norm_grad_params<T: Real>(sums: &[T], dweight: &mut [T], dshift: &mut [T], p: &BatchNormGradParamsParams) {
    for c in 0..p.cols as usize {
        dweight[c] += sums[2 * c + 1];
        dshift[c] += sums[2 * c];
    }
}
