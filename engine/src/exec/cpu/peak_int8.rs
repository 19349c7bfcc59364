//! Packed dot products without touching memory, to find the peak rate: eight independent chains of
//! `x = x + dot(word, word + x)` of four integers in eight bits, and their sum. Integers wrap around.
//!
//! `out` is `[n]`.

use super::matmul_int8::dot;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`peak_int8`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct PeakInt8Params {
    /// Invocations.
    pub n: u32,
    /// Dot products of a chain.
    pub rounds: u32,
    /// Four integers.
    pub word: u32,
    /// Fills up 16 bytes.
    pub pad: u32,
}

impl KernelParams for PeakInt8Params {
    const KERNEL: Kernel = Kernel::PeakInt8;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Writes `out`.
pub fn peak_int8(out: &mut [u32], p: &PeakInt8Params) {
    for (i, out) in (0..p.n).zip(out) {
        let mut chains: [u32; 8] = std::array::from_fn(|c| i % 7 + u32::try_from(c).unwrap_or(0));
        for _ in 0..p.rounds {
            for x in &mut chains {
                *x = x.wrapping_add_signed(dot(p.word, p.word.wrapping_add(*x)));
            }
        }
        *out = chains.into_iter().fold(0, u32::wrapping_add);
    }
}
