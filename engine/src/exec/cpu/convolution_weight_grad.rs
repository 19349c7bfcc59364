//! Gradient of `convolution` for its weight: `dweight[(ky * kernel + kx) * inputs + c, o] += sum of x[p, c] * dy[q, o]` over all
//! pixels `q` and the `p` that they see through `(ky, kx)`.
//! An invocation of the shader computes 4 channels of `x` by 4 of `y` in registers.

use super::Real;
use super::convolution::ConvolutionParams;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`convolution_weight_grad`], those of the convolution.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct ConvolutionWeightGradParams(pub ConvolutionParams);

impl KernelParams for ConvolutionWeightGradParams {
    const KERNEL: Kernel = Kernel::ConvolutionWeightGrad;

    fn grid(&self) -> [u32; 3] {
        let quads = self.0.inputs.div_ceil(4) * self.0.outputs.div_ceil(4);
        elementwise_grid(self.0.kernel * self.0.kernel * quads)
    }
}

/// Adds to `dweight`.
pub fn convolution_weight_grad<T: Real>(x: &[T], dy: &[T], dweight: &mut [T], p: &ConvolutionWeightGradParams) {
    let p = &p.0;
    let (inputs, outputs) = (p.inputs as usize, p.outputs as usize);
    let mut sums = vec![T::zero(); (p.kernel * p.kernel) as usize * inputs * outputs];
    p.taps(|q, pixel, tap| {
        let gradient = &dy[q * outputs..][..outputs];
        for c in 0..inputs {
            let value = x[pixel * inputs + c];
            for (sum, d) in sums[(tap * inputs + c) * outputs..].iter_mut().zip(gradient) {
                *sum += value * *d;
            }
        }
    });
    for (weight, sum) in dweight.iter_mut().zip(sums) {
        *weight += sum;
    }
}
