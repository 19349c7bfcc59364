//! Matrix product in half-precision arithmetic, of halves wherever they lie: `c[i, j] = f((accumulate ? c[i, j] : 0) +
//! sum_k a[i, k] * b[k, j] + bias[j])`, as `matmul` has it; `bias` and `c` are in fp32.
//!
//! Sixteen products are added up in f16, and these sums in f32, so that long sums stay as precise as short ones.
//! An invocation of the shader computes 4 rows by 4 columns in registers. In which order a device adds up four products, and
//! where it rounds them, is not defined.

use super::Real;
use super::matmul::{MatmulParams, finish};
use crate::exec::Format;
use crate::exec::kernel::{Kernel, KernelParams};

/// Parameters of [`matmul_half`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct MatmulHalfParams(pub MatmulParams);

impl KernelParams for MatmulHalfParams {
    const KERNEL: Kernel = Kernel::MatmulHalf;

    fn grid(&self) -> [u32; 3] {
        [self.0.n.div_ceil(32), self.0.m.div_ceil(32), self.0.batches]
    }
}

/// Products that are added up in f16.
const CHUNK: usize = 16;

/// Writes `c`.
pub fn matmul_half<T: Real>(a: &[u32], b: &[u32], bias: &[T], c: &mut [T], MatmulHalfParams(p): &MatmulHalfParams) {
    let terms = |words: &[u32], first: usize, apart: u32| -> Vec<f32> {
        (0..p.k as usize).map(|k| half(words, first + k * apart as usize)).collect()
    };
    for batch in 0..p.batches as usize {
        let start = |offset: u32, distance: u32| offset as usize + batch * distance as usize;
        let (a0, b0, c0) = (start(p.a_offset, p.a_batch), start(p.b_offset, p.b_batch), start(p.c_offset, p.c_batch));
        let column = |j: u32| terms(b, b0 + (j * p.b_col_stride) as usize, p.b_row_stride);
        let columns: Vec<Vec<f32>> = (0..p.n).map(column).collect();
        for i in 0..p.m {
            let row = terms(a, a0 + (i * p.a_row_stride) as usize, p.a_col_stride);
            let found = &mut c[c0 + (i * p.n) as usize..][..p.n as usize];
            for (c, column) in found.iter_mut().zip(&columns) {
                let sum: f32 = row.chunks(CHUNK).zip(column.chunks(CHUNK)).map(|(a, b)| chunk(a, b)).sum();
                let before = if p.accumulate == 1 { *c } else { T::zero() };
                *c = before + T::of(f64::from(sum));
            }
            finish(found, bias, p.epilogue);
        }
    }
}

/// A number of halves that lie two in a word.
fn half(words: &[u32], at: usize) -> f32 {
    Format::F16.decode((words[at / 2] >> (at % 2 * 16)) & 0xffff)
}

/// The sum of some products, rounded to f16 with every quad.
fn chunk(a: &[f32], b: &[f32]) -> f32 {
    let round = |x: f32| Format::F16.decode(Format::F16.encode(x));
    a.chunks(4).zip(b.chunks(4)).fold(0.0, |sum, (a, b)| {
        let dot: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
        round(sum + round(dot))
    })
}
