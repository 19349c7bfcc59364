//! Reads a buffer and keeps little of it, to find the bandwidth of reading: `out[i] = sum_r x[r * lanes + i]`.
//!
//! `x` is `[rows * lanes]`, `out` is `[lanes]`.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`read`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct ReadParams {
    /// Elements that an invocation reads.
    pub rows: u32,
    /// Invocations.
    pub lanes: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 2],
}

impl KernelParams for ReadParams {
    const KERNEL: Kernel = Kernel::Read;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.lanes)
    }
}

/// Writes `out`.
pub fn read<T: Real>(x: &[T], out: &mut [T], p: &ReadParams) {
    let lanes = p.lanes as usize;
    out[..lanes].fill(T::zero());
    for r in 0..p.rows as usize {
        for (sum, x) in out[..lanes].iter_mut().zip(&x[r * lanes..]) {
            *sum += *x;
        }
    }
}
