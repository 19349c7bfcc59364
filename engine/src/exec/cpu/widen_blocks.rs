//! The sum of numbers that `narrow_blocks` made small, of as many parts behind each other: `x[i] = sum of code * scale`.

use super::narrow_blocks::ROW;
use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};
use crate::scenario::compression::BLOCK;

/// Parameters of [`widen_blocks`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct WidenBlocksParams {
    /// Numbers of the sum.
    pub n: u32,
    /// Parts.
    pub parts: u32,
    /// Words from one part to the next.
    pub distance: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 1],
}

impl KernelParams for WidenBlocksParams {
    const KERNEL: Kernel = Kernel::WidenBlocks;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Writes `x`.
pub fn widen_blocks<T: Real>(codes: &[u32], x: &mut [T], p: &WidenBlocksParams) {
    let size = BLOCK as usize;
    for (i, x) in x[..p.n as usize].iter_mut().enumerate() {
        *x = T::zero();
        for part in 0..p.parts as usize {
            let row = &codes[part * p.distance as usize + i / size * ROW..][..ROW];
            let code = row[i % size / 4].to_le_bytes()[i % 4].cast_signed();
            *x += real::<T>(f32::from(code)) * real(f32::from_bits(row[ROW - 1]));
        }
    }
}
