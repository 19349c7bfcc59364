//! Matrix product: `c[i, j] = f((accumulate ? c[i, j] : 0) + sum_k a[i, k] * b[k, j] + bias[j])`, where bias and `f`, an
//! activation, are there as the bits of `epilogue` say.
//!
//! `c` is `[m, n]`, dense and row-major; `a` and `b` are addressed by strides, so one kernel serves all transposes.
//! Without a bias any buffer may be bound in its place.
//! Several products with the same shapes lie at equal distances: `batches` of them, from the offsets on.
//! An invocation of the shader computes 8 rows by 4 columns in registers.
//! It uses no workgroup memory, which is the slowest there is on a software GPU.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams};

/// Parameters of [`matmul`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct MatmulParams {
    /// Rows of `c`.
    pub m: u32,
    /// Columns of `c`.
    pub n: u32,
    /// Length of the sums.
    pub k: u32,
    /// Distance of neighbours in a column of `a`.
    pub a_row_stride: u32,
    /// Distance of neighbours in a row of `a`.
    pub a_col_stride: u32,
    /// Distance of neighbours in a column of `b`.
    pub b_row_stride: u32,
    /// Distance of neighbours in a row of `b`.
    pub b_col_stride: u32,
    /// 1 adds to `c`, 0 overwrites it.
    pub accumulate: u32,
    /// What is done to the sum: [`BIAS`], then [`RELU`] or [`TANH`].
    pub epilogue: u32,
    /// First element of `a`.
    pub a_offset: u32,
    /// First element of `b`.
    pub b_offset: u32,
    /// First element of `c`.
    pub c_offset: u32,
    /// Elements from one product's `a` to the next.
    pub a_batch: u32,
    /// Elements from one product's `b` to the next.
    pub b_batch: u32,
    /// Elements from one product's `c` to the next.
    pub c_batch: u32,
    /// Number of products.
    pub batches: u32,
}

/// Bits of [`MatmulParams::epilogue`].
pub const BIAS: u32 = 1;
/// The largest of the sum and zero.
pub const RELU: u32 = 2;
/// Its hyperbolic tangent.
pub const TANH: u32 = 4;

impl MatmulParams {
    /// A plain product of square matrices.
    pub fn square(side: u32) -> Self {
        Self {
            m: side,
            n: side,
            k: side,
            a_row_stride: side,
            a_col_stride: 1,
            b_row_stride: side,
            b_col_stride: 1,
            batches: 1,
            ..Self::default()
        }
    }
}

impl KernelParams for MatmulParams {
    const KERNEL: Kernel = Kernel::Matmul;

    fn grid(&self) -> [u32; 3] {
        [self.n.div_ceil(TILE_COLS), self.m.div_ceil(TILE_ROWS), self.batches]
    }
}

/// Writes `c`.
pub fn matmul<T: Real>(a: &[T], b: &[T], bias: &[T], c: &mut [T], p: &MatmulParams) {
    for batch in 0..p.batches as usize {
        let start = |offset: u32, distance: u32| offset as usize + batch * distance as usize;
        let (a, b) = (&a[start(p.a_offset, p.a_batch)..], &b[start(p.b_offset, p.b_batch)..]);
        product(a, b, bias, &mut c[start(p.c_offset, p.c_batch)..], p);
    }
}

fn product<T: Real>(a: &[T], b: &[T], bias: &[T], c: &mut [T], p: &MatmulParams) {
    let n = p.n as usize;
    for i in 0..p.m as usize {
        let row = &mut c[i * n..][..n];
        if p.accumulate == 0 {
            row.fill(T::zero());
        }
        if p.b_col_stride == 1 {
            add_row_by_row(a, b, row, i, p);
        } else {
            add_dot_by_dot(a, b, row, i, p);
        }
        finish(row, bias, p.epilogue);
    }
}

/// What is done to the sums of a row.
pub(super) fn finish<T: Real>(row: &mut [T], bias: &[T], epilogue: u32) {
    if epilogue & BIAS != 0 {
        row.iter_mut().zip(bias).for_each(|(sum, bias)| *sum += *bias);
    }
    if epilogue & RELU != 0 {
        row.iter_mut().for_each(|sum| *sum = sum.max(T::zero()));
    }
    if epilogue & TANH != 0 {
        row.iter_mut().for_each(|sum| *sum = sum.tanh());
    }
}

/// Rows and columns of `c` that a workgroup of the shader computes.
const TILE_ROWS: u32 = 64;
const TILE_COLS: u32 = 32;

/// Columns that are summed at once, so that the additions do not wait for each other.
const COLS: usize = 4;

/// Order i-k-j: rows of `b` are contiguous, so the inner loop vectorises.
fn add_row_by_row<T: Real>(a: &[T], b: &[T], row: &mut [T], i: usize, p: &MatmulParams) {
    let (a_row, a_col, b_row) = (p.a_row_stride as usize, p.a_col_stride as usize, p.b_row_stride as usize);
    for k in 0..p.k as usize {
        let x = a[i * a_row + k * a_col];
        for (c, b) in row.iter_mut().zip(&b[k * b_row..]) {
            *c += x * *b;
        }
    }
}

/// Order i-j-k: columns of `b` are contiguous or nearly so.
fn add_dot_by_dot<T: Real>(a: &[T], b: &[T], row: &mut [T], i: usize, p: &MatmulParams) {
    let (a_row, a_col) = (p.a_row_stride as usize, p.a_col_stride as usize);
    let (b_row, b_col) = (p.b_row_stride as usize, p.b_col_stride as usize);
    let last = row.len().saturating_sub(1);
    for j0 in (0..row.len()).step_by(COLS) {
        // Columns beyond the edge are computed from the last one and dropped.
        let col: [usize; COLS] = std::array::from_fn(|x| (j0 + x).min(last) * b_col);
        let mut sum = [T::zero(); COLS];
        for k in 0..p.k as usize {
            let x = a[i * a_row + k * a_col];
            for j in 0..COLS {
                sum[j] += x * b[col[j] + k * b_row];
            }
        }
        for (c, sum) in row[j0..].iter_mut().zip(sum) {
            *c += sum;
        }
    }
}
