//! Pooling: `y[q, c]` is the largest, or the mean, of `x[p, c]` over the window of `kernel` by `kernel` pixels from `q * stride - pad`
//! on, as far as it lies in the image.
//!
//! Rows are pixels, row by row of each image; columns are channels.

use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`pool`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct PoolParams {
    /// Images.
    pub batch: u32,
    /// Pixels of a side of `x`.
    pub side: u32,
    /// Pixels of a side of `y`.
    pub behind: u32,
    /// Channels.
    pub cols: u32,
    /// Pixels of a side of the window.
    pub kernel: u32,
    /// Pixels of `x` from a pixel of `y` to the next.
    pub stride: u32,
    /// Pixels around `x` that count for nothing.
    pub pad: u32,
    /// 1 for the mean of a window that lies inside, 0 for its largest.
    pub mean: u32,
}

impl KernelParams for PoolParams {
    const KERNEL: Kernel = Kernel::Pool;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.batch * self.behind * self.behind * self.cols)
    }
}

impl PoolParams {
    /// The pixels of `x` in the window of a pixel of `y`.
    pub(super) fn window(&self, q: usize) -> impl Iterator<Item = usize> {
        let (side, behind, kernel) = (self.side as usize, self.behind as usize, self.kernel as usize);
        let (stride, pad) = (self.stride as usize, self.pad as usize);
        let (image, row, column) = (q / (behind * behind), q / behind % behind, q % behind);
        let inside = move |at: usize, offset: usize| (at * stride + offset).checked_sub(pad).filter(|&p| p < side);
        let pixel = move |tap: usize| {
            let (py, px) = (inside(row, tap / kernel)?, inside(column, tap % kernel)?);
            Some((image * side + py) * side + px)
        };
        (0..kernel * kernel).filter_map(pixel)
    }
}

/// Writes `y`.
pub fn pool<T: Real>(x: &[T], y: &mut [T], p: &PoolParams) {
    let cols = p.cols as usize;
    let n = real::<T>(p.kernel * p.kernel);
    for i in 0..(p.batch * p.behind * p.behind) as usize * cols {
        let window = p.window(i / cols).map(|pixel| x[pixel * cols + i % cols]);
        y[i] = if p.mean == 1 {
            window.fold(T::zero(), |sum, value| sum + value) / n
        } else {
            window.fold(T::min_value(), T::max)
        };
    }
}
