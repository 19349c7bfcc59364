//! Product of integers of eight bits: `c[i, j] = f((accumulate ? c[i, j] : 0) + a_scales[i] * b_scales[j] * sum_k a[i, k] *
//! b[j, k] + bias[j])`, as `quantize_rows` has written them, four in a word: it takes rows out of a matrix or its transpose.
//! The sums are exact: in 32 bits, for up to 133 144 terms. Bias and `f` are there as the bits of `epilogue` say.
//!
//! `a` is `[batches, m, words]`, `b` is `[batches, n, words]`: a row for each column of the product; `c` is `[batches, m, n]`;
//! scales are `[batches, m]` and `[batches, n]`. An invocation of the shader computes 4 rows by 4 columns in registers, four
//! terms at once.

use super::Real;
use super::matmul::finish;
use crate::exec::kernel::{Kernel, KernelParams};

/// Parameters of [`matmul_int8`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct MatmulInt8Params {
    /// Rows of `c`.
    pub m: u32,
    /// Columns of `c`.
    pub n: u32,
    /// Words of a row of `a` and `b`.
    pub words: u32,
    /// 1 adds to `c`, 0 overwrites it.
    pub accumulate: u32,
    /// What is done to the sum, as of [`super::matmul::MatmulParams`].
    pub epilogue: u32,
    /// Number of products.
    pub batches: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 2],
}

impl KernelParams for MatmulInt8Params {
    const KERNEL: Kernel = Kernel::MatmulInt8;

    fn grid(&self) -> [u32; 3] {
        [self.n.div_ceil(32), self.m.div_ceil(32), self.batches]
    }
}

/// Writes `c`.
pub fn matmul_int8<T: Real>(
    a: &[u32],
    b: &[u32],
    bias: &[T],
    c: &mut [T],
    a_scales: &[T],
    b_scales: &[T],
    p: &MatmulInt8Params,
) {
    let (m, n, words) = (p.m as usize, p.n as usize, p.words as usize);
    for (row, found) in c.chunks_mut(n.max(1)).enumerate().take(m * p.batches as usize) {
        let of_batch = row / m * n;
        for (j, c) in found.iter_mut().enumerate() {
            let column = of_batch + j;
            let pairs = a[row * words..][..words].iter().zip(&b[column * words..][..words]);
            let sum: i32 = pairs.map(|(a, b)| dot(*a, *b)).sum();
            let before = if p.accumulate == 1 { *c } else { T::zero() };
            *c = before + T::of(f64::from(sum as f32)) * (a_scales[row] * b_scales[column]);
        }
        finish(found, bias, p.epilogue);
    }
}

/// The sum of four products.
pub(super) fn dot(a: u32, b: u32) -> i32 {
    let integers = |word: u32| word.to_le_bytes().map(|byte| i32::from(byte as i8));
    integers(a).into_iter().zip(integers(b)).map(|(a, b)| a * b).sum()
}
