//! Integers of eight bits with a scale for each row: `out[r, k / 4]` gets `round(x[r, k] / scales[r])`, four in a word, to the
//! nearest, ties to even. A scale is the least power of two with which the row lies within ±127, so that dividing by it is
//! exact on every device; a row of zeros has 1. What is not finite does not count, and becomes ±127 or 0.
//!
//! `x` is `[rows, cols]` by strides, so that columns of a matrix can be rows here; `out` is `[rows, ceil(cols / 4)]`.

use super::Real;
use crate::exec::format::power_below;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`quantize_rows`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct QuantizeRowsParams {
    /// Rows, each with a scale of its own.
    pub rows: u32,
    /// Numbers in a row.
    pub cols: u32,
    /// Distance of neighbours in a column of `x`.
    pub row_stride: u32,
    /// Distance of neighbours in a row of `x`.
    pub col_stride: u32,
}

impl KernelParams for QuantizeRowsParams {
    const KERNEL: Kernel = Kernel::QuantizeRows;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.rows)
    }
}

/// The largest integer.
pub(super) const MOST: f32 = 127.0;

/// Writes `out` and `scales`.
pub fn quantize_rows<T: Real>(x: &[T], out: &mut [u32], scales: &mut [T], p: &QuantizeRowsParams) {
    let words = p.cols.div_ceil(4) as usize;
    for r in 0..p.rows as usize {
        let at = |k: usize| x[r * p.row_stride as usize + k * p.col_stride as usize].to_f32().unwrap_or(f32::NAN);
        let row = || (0..p.cols as usize).map(at);
        let scale = power_below(row().filter(|x| x.is_finite()).fold(0.0, |most: f32, x| most.max(x.abs())), MOST);
        scales[r] = T::of(scale.into());
        let bytes: Vec<u32> = row().map(|x| u32::from(integer(x / scale).to_le_bytes()[0])).collect();
        for (word, bytes) in out[r * words..][..words].iter_mut().zip(bytes.chunks(4)) {
            *word = bytes.iter().rev().fold(0, |codes, byte| codes << 8 | byte);
        }
    }
}

/// The nearest integer from -127 to 127, ties to even.
pub(super) fn integer(x: f32) -> i8 {
    x.round_ties_even().clamp(-MOST, MOST) as i8
}
