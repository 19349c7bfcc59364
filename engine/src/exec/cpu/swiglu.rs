//! SwiGLU (Shazeer 2020): `y = silu(gate) * up` with `silu(g) = g / (1 + exp(-g))`.
//!
//! `x[T, 2f]` holds the gate in column `2j` and up in column `2j + 1`, so that a column shard of it keeps the pairs.
//! `y` is `[T, f]` and `n = T * f`.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`swiglu`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct SwigluParams {
    /// Elements of `y`.
    pub n: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 3],
}

impl KernelParams for SwigluParams {
    const KERNEL: Kernel = Kernel::Swiglu;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Writes `y`.
pub fn swiglu<T: Real>(x: &[T], y: &mut [T], p: &SwigluParams) {
    for i in 0..p.n as usize {
        let (gate, up) = (x[2 * i], x[2 * i + 1]);
        y[i] = gate * sigmoid(gate) * up;
    }
}

pub(super) fn sigmoid<T: Real>(x: T) -> T {
    T::one() / (T::one() + (-x).exp())
}
