//! Batch norm: each channel over all pixels of the micro-batch, `y = (x - mean) * rstd * weight + shift`.
//!
//! `x` and `y` are `[rows, cols]`; `stats[cols, 2]` gets `mean` and `rstd = 1 / sqrt(variance + eps)` of each channel, with the
//! variance of what is there (Ioffe & Szegedy 2015, algorithm 1).
//! A workgroup of the shader has a channel; it sums by lanes, and then over them.

use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams};

/// Parameters of [`batch_norm`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct BatchNormParams {
    /// Pixels of all images.
    pub rows: u32,
    /// Channels.
    pub cols: u32,
    /// Stabiliser.
    pub eps: f32,
    /// Fills up 16 bytes.
    pub pad: [u32; 1],
}

impl KernelParams for BatchNormParams {
    const KERNEL: Kernel = Kernel::BatchNorm;

    fn grid(&self) -> [u32; 3] {
        [self.cols, 1, 1]
    }
}

/// Writes `y` and `stats`.
pub fn batch_norm<T: Real>(x: &[T], weight: &[T], shift: &[T], y: &mut [T], stats: &mut [T], p: &BatchNormParams) {
    let (rows, cols) = (p.rows as usize, p.cols as usize);
    let n = real::<T>(p.rows);
    for c in 0..cols {
        let mean = lane_sum(rows, |t| x[t * cols + c]) / n;
        let variance = lane_sum(rows, |t| (x[t * cols + c] - mean) * (x[t * cols + c] - mean)) / n;
        let rstd = (variance + real(p.eps)).sqrt().recip();
        for t in 0..rows {
            y[t * cols + c] = (x[t * cols + c] - mean) * rstd * weight[c] + shift[c];
        }
        (stats[2 * c], stats[2 * c + 1]) = (mean, rstd);
    }
}

/// Invocations of a workgroup.
const LANES: usize = 64;

/// Sums `term(0..n)` as a workgroup of the shader does: by lanes, and then over them.
pub(super) fn lane_sum<T: Real>(n: usize, term: impl Fn(usize) -> T) -> T {
    let mut lanes = [T::zero(); LANES];
    for i in 0..n {
        lanes[i % LANES] += term(i);
    }
    lanes.into_iter().fold(T::zero(), |sum, lane| sum + lane)
}
