//! Multiplies and adds without touching memory, to find the peak rate: eight independent chains of
//! `x = x * factor + 1` for every invocation, each of as many numbers as the shader's vectors hold, and their sum.
//!
//! `out` is `[n]`.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`peak`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct PeakParams {
    /// Invocations.
    pub n: u32,
    /// Multiplications and additions of a chain, a multiple of four.
    pub rounds: u32,
    /// What is multiplied by; below 1, so that nothing grows.
    pub factor: f32,
    /// Fills up 16 bytes.
    pub pad: [u32; 1],
}

impl KernelParams for PeakParams {
    const KERNEL: Kernel = Kernel::Peak;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Writes `out`; the numbers of a vector are alike, so one of them is enough.
pub fn peak<T: Real>(out: &mut [T], p: &PeakParams) {
    let factor = T::of(p.factor.into());
    for i in 0..p.n as usize {
        let mut chains: [T; 8] = std::array::from_fn(|c| T::of((i % 7 + c) as f64));
        for _ in 0..p.rounds {
            for x in &mut chains {
                *x = *x * factor + T::one();
            }
        }
        out[i] = chains.into_iter().fold(T::zero(), T::add);
    }
}
