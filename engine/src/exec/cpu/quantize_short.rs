//! Numbers in four bits (NVIDIA 2025, "Pretraining large language models with NVFP4", section 2): every 16 have a scale in
//! E4M3, the least with which their largest is at most six times it, and all have one, which stands behind the last word
//! already. Codes lie in the lower halves of bytes, a block's scale in the upper ones of its first two.
//!
//! Only products that are exact are compared, so that no device rounds otherwise. An invocation of the shader has a block.

use super::Real;
use crate::exec::format::{SHORT_BLOCK, short_block};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`quantize_short`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct QuantizeShortParams {
    /// Number of elements.
    pub n: u32,
    /// Words that they take.
    pub words: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 2],
}

impl KernelParams for QuantizeShortParams {
    const KERNEL: Kernel = Kernel::QuantizeShort;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n.div_ceil(16))
    }
}

/// Writes the codes into `out`.
pub fn quantize_short<T: Real>(x: &[T], out: &mut [u32], p: &QuantizeShortParams) {
    let scale = f32::from_bits(out[p.words as usize]);
    let words = &mut out[..p.words as usize];
    for (values, words) in x[..p.n as usize].chunks(SHORT_BLOCK).zip(words.chunks_mut(SHORT_BLOCK / 4)) {
        let values: Vec<f32> = values.iter().map(|x| x.to_f32().unwrap_or(f32::NAN)).collect();
        short_block(&values, scale, words);
    }
}
