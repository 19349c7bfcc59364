//! Numbers in eight bits: `out[i / 4]` gets the codes of `x[i] / scale`, four in a word, with `mantissa` bits of mantissa, to
//! the nearest, ties to even; what is too large becomes the largest. The scale stands behind the last word.

use super::{Real, real};
use crate::exec::Format;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`quantize`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct QuantizeParams {
    /// Number of elements.
    pub n: u32,
    /// Words that they take.
    pub words: u32,
    /// Bits of the mantissa.
    pub mantissa: u32,
    /// Bias of the exponent.
    pub bias: u32,
    /// Code of the largest number.
    pub largest: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 3],
}

impl KernelParams for QuantizeParams {
    const KERNEL: Kernel = Kernel::Quantize;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.words)
    }
}

/// Writes the codes into `out`.
pub fn quantize<T: Real>(x: &[T], out: &mut [u32], p: &QuantizeParams) {
    let format = if p.mantissa == 3 { Format::E4m3 } else { Format::E5m2 };
    let scale = real::<T>(f32::from_bits(out[p.words as usize]));
    for (word, values) in x[..p.n as usize].chunks(4).enumerate() {
        let code = |value: T| format.encode((value / scale).to_f32().unwrap_or(f32::NAN));
        out[word] = values.iter().rev().fold(0, |codes, &value| codes << 8 | code(value));
    }
}
