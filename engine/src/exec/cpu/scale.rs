//! The scale of a tensor in eight bits: the power of two by which its largest magnitude is divided to lie in the highest
//! binade that does not overflow, `out[words] = 2^e`. What is not finite does not count.
//!
//! `x` has `n` numbers, `out` their `words` words and the scale behind them. `most` is the largest number of the format.

use super::Real;
use crate::exec::format::power_below;
use crate::exec::kernel::{Kernel, KernelParams};

/// Parameters of [`scale`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct ScaleParams {
    /// Number of elements.
    pub n: u32,
    /// Words that they take.
    pub words: u32,
    /// The largest number of the format.
    pub most: f32,
    /// Fills up 16 bytes.
    pub pad: [u32; 1],
}

impl KernelParams for ScaleParams {
    const KERNEL: Kernel = Kernel::Scale;

    fn grid(&self) -> [u32; 3] {
        [1, 1, 1]
    }
}

/// Writes the scale into `out`.
pub fn scale<T: Real>(x: &[T], out: &mut [u32], p: &ScaleParams) {
    let finite = x[..p.n as usize].iter().filter(|x| x.is_finite());
    let largest = finite.fold(T::zero(), |most, x| most.max(x.abs()));
    out[p.words as usize] = power_below(largest.to_f32().unwrap_or(0.0), p.most).to_bits();
}
