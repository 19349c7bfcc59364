//! Scaled sum of squares: `out[0] += scale * sum x^2`.
//!
//! One workgroup sums lane by lane and then as a tree, so the order of the sum never changes.

use super::{Real, lane_sum, real};
use crate::exec::kernel::{Kernel, KernelParams};

/// Parameters of [`sum_squares`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct SumSquaresParams {
    /// Number of elements.
    pub n: u32,
    /// Factor on the sum.
    pub scale: f32,
    /// Fills up 16 bytes.
    pub pad: [u32; 2],
}

impl KernelParams for SumSquaresParams {
    const KERNEL: Kernel = Kernel::SumSquares;

    fn grid(&self) -> [u32; 3] {
        [1, 1, 1]
    }
}

/// Adds to `out`.
pub fn sum_squares<T: Real>(x: &[T], out: &mut [T], p: &SumSquaresParams) {
    out[0] += real::<T>(p.scale) * lane_sum(p.n as usize, |i| x[i] * x[i]);
}
