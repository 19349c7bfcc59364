//! Numbers as integers of eight bits with a scale for each block of 256, as gradients travel (Wang et al. 2023, "ZeRO++",
//! section 3.3): a row of `codes` has 64 words of four integers and the scale, the least power of two with which the block
//! lies within ±127, so that dividing by it is exact on every device. Integers are the nearest, ties to even. A block with
//! something that is not finite has an infinite scale, so that none of it is finite behind. Rows behind the last number are
//! zero.
//!
//! A workgroup of the shader has a block.

use super::Real;
use super::quantize_rows::{MOST, integer};
use crate::exec::format::power_below;
use crate::exec::kernel::{Kernel, KernelParams, folded_grid};
use crate::scenario::compression::BLOCK;

/// Parameters of [`narrow_blocks`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct NarrowBlocksParams {
    /// Numbers.
    pub n: u32,
    /// Rows of codes.
    pub rows: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 2],
}

impl KernelParams for NarrowBlocksParams {
    const KERNEL: Kernel = Kernel::NarrowBlocks;

    fn grid(&self) -> [u32; 3] {
        folded_grid(self.rows)
    }
}

/// Words of a row of codes.
pub const ROW: usize = BLOCK as usize / 4 + 1;

/// Writes `codes`.
pub fn narrow_blocks<T: Real>(x: &[T], codes: &mut [u32], p: &NarrowBlocksParams) {
    let size = BLOCK as usize;
    for (block, row) in codes.chunks_mut(ROW).enumerate().take(p.rows as usize) {
        let at = |e: usize| {
            if block * size + e < p.n as usize { x[block * size + e].to_f32().unwrap_or(f32::NAN) } else { 0.0 }
        };
        let most =
            (0..size).map(at).fold(0.0, |most: f32, x| if x.is_nan() { f32::INFINITY } else { most.max(x.abs()) });
        let scale = if most.is_finite() { power_below(most, MOST) } else { f32::INFINITY };
        for (word, codes) in row[..ROW - 1].iter_mut().enumerate() {
            let byte = |place: usize| u32::from(code(at(word * 4 + place), scale).to_le_bytes()[0]);
            *codes = (0..4).rev().fold(0, |codes, place| codes << 8 | byte(place));
        }
        row[ROW - 1] = scale.to_bits();
    }
}

fn code(x: f32, scale: f32) -> i8 {
    if scale.is_finite() { integer(x / scale) } else { 0 }
}
