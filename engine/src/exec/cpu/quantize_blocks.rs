//! Numbers in E4M3 with a scale for every 128 of them (DeepSeek-AI 2024, "DeepSeek-V3", section 3.3.2): `out[i / 4]` gets the
//! codes of `x[i] / scale`, four in a word, to the nearest, ties to even. A scale is a power of two with which the largest of
//! the block lies in the highest binade; all of them stand behind the last word.
//!
//! A workgroup of the shader has a block.

use super::Real;
use crate::exec::Format;
use crate::exec::kernel::{Kernel, KernelParams, folded_grid};

/// Parameters of [`quantize_blocks`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct QuantizeBlocksParams {
    /// Number of elements.
    pub n: u32,
    /// Words that they take.
    pub words: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 2],
}

impl KernelParams for QuantizeBlocksParams {
    const KERNEL: Kernel = Kernel::QuantizeBlocks;

    fn grid(&self) -> [u32; 3] {
        folded_grid(self.n.div_ceil(128))
    }
}

/// Writes codes and scales into `out`.
pub fn quantize_blocks<T: Real>(x: &[T], out: &mut [u32], p: &QuantizeBlocksParams) {
    let values: Vec<f32> = x[..p.n as usize].iter().map(|x| x.to_f32().unwrap_or(f32::NAN)).collect();
    Format::E4m3Blocks.pack(&values, out);
}
