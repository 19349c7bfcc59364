//! Gradients of the weight and the shift of `group_norm`: `dweight[c] += sum of dy * h` and `dshift[c] += sum of dy` over all
//! pixels of all images, with `h = (x - mean) * rstd`.
//!
//! A workgroup of the shader has a channel; it sums by lanes, and then over them.

use super::Real;
use super::batch_norm::lane_sum;
use super::group_norm::GroupNormParams;
use crate::exec::kernel::{Kernel, KernelParams};

/// Parameters of [`group_norm_grad_params`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct GroupNormGradParamsParams(pub GroupNormParams);

impl KernelParams for GroupNormGradParamsParams {
    const KERNEL: Kernel = Kernel::GroupNormGradParams;

    fn grid(&self) -> [u32; 3] {
        [self.0.cols, 1, 1]
    }
}

/// Adds to `dweight` and `dshift`.
pub fn group_norm_grad_params<T: Real>(
    x: &[T],
    stats: &[T],
    dy: &[T],
    dweight: &mut [T],
    dshift: &mut [T],
    GroupNormGradParamsParams(p): &GroupNormGradParamsParams,
) {
    let (rows, cols) = ((p.images * p.pixels) as usize, p.cols as usize);
    for c in 0..cols {
        let h = |t: usize| {
            let row = t / p.pixels as usize * p.groups as usize + c / (cols / p.groups as usize);
            (x[t * cols + c] - stats[2 * row]) * stats[2 * row + 1]
        };
        dweight[c] += lane_sum(rows, |t| dy[t * cols + c] * h(t));
        dshift[c] += lane_sum(rows, |t| dy[t * cols + c]);
    }
}
