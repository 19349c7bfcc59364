//! Matrix product in half-precision arithmetic: `c[i, j] = sum_k a[i, k] * b[j, k]`. Sixteen products are added up in f16, and
//! these sums in f32, so that long sums stay as precise as short ones.
//!
//! `a` is `[m, quads]`, `b` is `[n, quads]`, of four halves each: a row for each column of the product; `c` is `[m, n]`.
//! An invocation of the shader computes 4 rows by 4 columns in registers. In which order a device adds up the four products
//! of a quad, and where it rounds them, is not defined.

use super::Real;
use crate::exec::Format;
use crate::exec::kernel::{Kernel, KernelParams};

/// Parameters of [`matmul_half`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct MatmulHalfParams {
    /// Rows of `c`.
    pub m: u32,
    /// Columns of `c`.
    pub n: u32,
    /// Quads of a row of `a` and `b`: a fourth of the sums' length.
    pub quads: u32,
    /// Fills up 16 bytes.
    pub pad: u32,
}

impl KernelParams for MatmulHalfParams {
    const KERNEL: Kernel = Kernel::MatmulHalf;

    fn grid(&self) -> [u32; 3] {
        [self.n.div_ceil(32), self.m.div_ceil(32), 1]
    }
}

/// Products that are added up in f16.
const CHUNK: usize = 16;

/// Writes `c`.
pub fn matmul_half<T: Real>(a: &[u32], b: &[u32], c: &mut [T], p: &MatmulHalfParams) {
    let (n, k) = (p.n as usize, p.quads as usize * 4);
    let unpacked = |words: &[u32], rows: u32| Format::F16.unpack(words, rows as usize * k);
    let (a, b) = (unpacked(a, p.m), unpacked(b, p.n));
    for i in 0..p.m as usize {
        for j in 0..n {
            let chunks = a[i * k..][..k].chunks(CHUNK).zip(b[j * k..][..k].chunks(CHUNK));
            let sum: f32 = chunks.map(|(a, b)| chunk(a, b)).sum();
            c[i * n + j] = T::of(f64::from(sum));
        }
    }
}

/// The sum of some products, rounded to f16 with every quad.
fn chunk(a: &[f32], b: &[f32]) -> f32 {
    let round = |x: f32| Format::F16.decode(Format::F16.encode(x));
    a.chunks(4).zip(b.chunks(4)).fold(0.0, |sum, (a, b)| {
        let dot: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
        round(sum + round(dot))
    })
}
