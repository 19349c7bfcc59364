//! Gradient of `convolution` for its input: `dx[p, c] = sum of dy[q, o] * weight[(ky * kernel + kx) * inputs + c, o]` over all
//! `(ky, kx, o)` and the pixels `q` that see `p` through `(ky, kx)`: `q * stride + (ky, kx) - pad = p`.
//! An invocation of the shader computes 4 pixels by 4 channels in registers.

use super::Real;
use super::convolution::ConvolutionParams;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`convolution_input_grad`], those of the convolution.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct ConvolutionInputGradParams(pub ConvolutionParams);

impl KernelParams for ConvolutionInputGradParams {
    const KERNEL: Kernel = Kernel::ConvolutionInputGrad;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid((self.0.batch * self.0.side * self.0.side).div_ceil(4) * self.0.inputs.div_ceil(4))
    }
}

/// Writes `dx`.
pub fn convolution_input_grad<T: Real>(dy: &[T], weight: &[T], dx: &mut [T], p: &ConvolutionInputGradParams) {
    let p = &p.0;
    let (inputs, outputs) = (p.inputs as usize, p.outputs as usize);
    dx[..(p.batch * p.side * p.side) as usize * inputs].fill(T::zero());
    p.taps(|q, pixel, tap| {
        let gradient = &dy[q * outputs..][..outputs];
        for c in 0..inputs {
            let weights = &weight[(tap * inputs + c) * outputs..];
            let sum = gradient.iter().zip(weights).fold(T::zero(), |sum, (d, w)| sum + *d * *w);
            dx[pixel * inputs + c] += sum;
        }
    });
}
