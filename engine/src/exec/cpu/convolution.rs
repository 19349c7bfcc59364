//! Convolution: `y[q, o] = sum over (ky, kx, c) of x[pixel(q, ky, kx), c] * weight[(ky * kernel + kx) * inputs + c, o]`, where
//! `pixel` lies at `q * stride + (ky, kx) - pad`, and is zero outside the image.
//!
//! Rows are pixels, row by row of each image; columns are channels. A weight has a row for each pixel of the kernel and each
//! channel of `x`, and a column for each channel of `y`.
//! An invocation of the shader computes 4 pixels by 4 channels in registers.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`convolution`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct ConvolutionParams {
    /// Images.
    pub batch: u32,
    /// Pixels of a side of `x`.
    pub side: u32,
    /// Pixels of a side of `y`.
    pub behind: u32,
    /// Channels of `x`.
    pub inputs: u32,
    /// Channels of `y`.
    pub outputs: u32,
    /// Pixels of a side of the kernel.
    pub kernel: u32,
    /// Pixels of `x` from a pixel of `y` to the next.
    pub stride: u32,
    /// Pixels around `x` that count as zero.
    pub pad: u32,
}

impl KernelParams for ConvolutionParams {
    const KERNEL: Kernel = Kernel::Convolution;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid((self.batch * self.behind * self.behind).div_ceil(4) * self.outputs.div_ceil(4))
    }
}

impl ConvolutionParams {
    /// The pixel of an image of `side` pixels at `at` plus an offset into the kernel, if it is one.
    pub(super) fn inside(&self, at: usize, offset: usize) -> Option<usize> {
        (at * self.stride as usize + offset).checked_sub(self.pad as usize).filter(|&pixel| pixel < self.side as usize)
    }

    /// Calls `visit` with a pixel of `y`, the pixel of `x` that it sees there, and the pixel of the kernel, for all of them.
    pub(super) fn taps(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let (side, behind, kernel) = (self.side as usize, self.behind as usize, self.kernel as usize);
        for q in 0..self.batch as usize * behind * behind {
            let (image, row, column) = (q / (behind * behind), q / behind % behind, q % behind);
            for tap in 0..kernel * kernel {
                let (py, px) = (self.inside(row, tap / kernel), self.inside(column, tap % kernel));
                if let (Some(py), Some(px)) = (py, px) {
                    visit(q, (image * side + py) * side + px, tap);
                }
            }
        }
    }
}

/// Writes `y`.
pub fn convolution<T: Real>(x: &[T], weight: &[T], y: &mut [T], p: &ConvolutionParams) {
    let (inputs, outputs) = (p.inputs as usize, p.outputs as usize);
    y[..(p.batch * p.behind * p.behind) as usize * outputs].fill(T::zero());
    p.taps(|q, pixel, tap| {
        let row = &mut y[q * outputs..][..outputs];
        for c in 0..inputs {
            let value = x[pixel * inputs + c];
            for (sum, w) in row.iter_mut().zip(&weight[(tap * inputs + c) * outputs..]) {
                *sum += value * *w;
            }
        }
    });
}
