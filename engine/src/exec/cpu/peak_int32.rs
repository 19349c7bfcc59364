//! Multiplies and adds without touching memory, to find the peak rate: eight independent chains of
//! `x = x * factor + 1` for every invocation, and their sum.
//!
//! Of integers of 32 bits, which wrap around; those of a vector are alike. `out` is `[n]`.

use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`peak_int32`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct PeakInt32Params {
    /// Invocations.
    pub n: u32,
    /// Multiplications and additions of a chain, a multiple of four.
    pub rounds: u32,
    /// What is multiplied by.
    pub factor: u32,
    /// Nothing, which a compiler does not know.
    pub zero: u32,
}

impl KernelParams for PeakInt32Params {
    const KERNEL: Kernel = Kernel::PeakInt32;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Writes `out`.
pub fn peak_int32(out: &mut [u32], p: &PeakInt32Params) {
    for (i, out) in (0..p.n).zip(out) {
        let mut chains: [u32; 8] = std::array::from_fn(|c| i % 7 + u32::try_from(c).unwrap_or(0));
        for _ in 0..p.rounds {
            for x in &mut chains {
                *x = x.wrapping_mul(p.factor).wrapping_add(1);
            }
        }
        *out = chains.into_iter().fold(0, u32::wrapping_add);
    }
}
