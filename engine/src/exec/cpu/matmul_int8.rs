//! Product of integers of eight bits: `c[i, j] = a_scales[i] * b_scales[j] * sum_k a[i, k] * b[j, k]`, as `quantize_rows` has
//! written them, four in a word. The sums are exact: in 32 bits, for up to 133 144 terms.
//!
//! `a` is `[m, words]`, `b` is `[n, words]`: a row for each column of the product; `c` is `[m, n]`.
//! An invocation of the shader computes 4 rows by 4 columns in registers, four terms at once.

use super::Real;
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
    /// Fills up 16 bytes.
    pub pad: u32,
}

impl KernelParams for MatmulInt8Params {
    const KERNEL: Kernel = Kernel::MatmulInt8;

    fn grid(&self) -> [u32; 3] {
        [self.n.div_ceil(32), self.m.div_ceil(32), 1]
    }
}

/// Writes `c`.
pub fn matmul_int8<T: Real>(a: &[u32], a_scales: &[T], b: &[u32], b_scales: &[T], c: &mut [T], p: &MatmulInt8Params) {
    let (n, words) = (p.n as usize, p.words as usize);
    for i in 0..p.m as usize {
        for j in 0..n {
            let pairs = a[i * words..][..words].iter().zip(&b[j * words..][..words]);
            let sum: i32 = pairs.map(|(a, b)| dot(*a, *b)).sum();
            c[i * n + j] = T::of(f64::from(sum as f32)) * (a_scales[i] * b_scales[j]);
        }
    }
}

/// The sum of four products.
pub(super) fn dot(a: u32, b: u32) -> i32 {
    let integers = |word: u32| word.to_le_bytes().map(|byte| i32::from(byte as i8));
    integers(a).into_iter().zip(integers(b)).map(|(a, b)| a * b).sum()
}
