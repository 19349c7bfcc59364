//! Residual connection: `out = x + y + bias`, with `bias[cols]` on every row.
//!
//! Without a bias `has_bias` is 0 and any buffer may be bound in its place.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`residual`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct ResidualParams {
    /// Number of elements.
    pub n: u32,
    /// Columns of a row.
    pub cols: u32,
    /// 1 if there is a bias.
    pub has_bias: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 1],
}

impl KernelParams for ResidualParams {
    const KERNEL: Kernel = Kernel::Residual;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Writes `out`.
pub fn residual<T: Real>(x: &[T], y: &[T], bias: &[T], out: &mut [T], p: &ResidualParams) {
    for i in 0..p.n as usize {
        let sum = x[i] + y[i];
        out[i] = if p.has_bias == 1 { sum + bias[i % p.cols as usize] } else { sum };
    }
}
