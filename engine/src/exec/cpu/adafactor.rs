//! One Adafactor update (Shazeer & Stern 2018, algorithm 4) from moments of rows and columns:
//! `v = row column / sum of rows`, `param -= lr g / (sqrt(v / bias2) + eps)`; for a vector `v` is the moment of its row.
//!
//! Of `matrices` that lie below each other, `rows` in all, a rank may update elements `begin..end`. `hyper`, unscaling and
//! clipping are as in `adamw`; updates are not clipped by their own mean square, which no rank that has a slice knows. A
//! workgroup of the shader has 1024 elements of a matrix and adds up its rows by itself.

use super::adamw::gradient_factor;
use super::{Real, tree_sum};
use crate::exec::kernel::{Kernel, KernelParams, folded_grid};

/// Parameters of [`adafactor`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct AdafactorParams {
    /// Rows of all matrices.
    pub rows: u32,
    /// Columns of a matrix.
    pub cols: u32,
    /// Number of matrices.
    pub matrices: u32,
    /// The first of their elements that is here.
    pub begin: u32,
    /// One past the last.
    pub end: u32,
    /// Where it lies in `grad`.
    pub grad_offset: u32,
    /// Where it lies in `param`.
    pub param_offset: u32,
    /// The first moment of a row.
    pub row_offset: u32,
    /// The first moment of a column.
    pub column_offset: u32,
    /// 1 for vectors.
    pub vector: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 2],
}

/// Elements of a workgroup, lanes of it.
const CHUNK: u32 = 1024;
const LANES: usize = 64;

impl KernelParams for AdafactorParams {
    const KERNEL: Kernel = Kernel::Adafactor;

    fn grid(&self) -> [u32; 3] {
        let chunks = (self.rows / self.matrices.max(1) * self.cols).div_ceil(CHUNK);
        let [x, z, _] = folded_grid(chunks);
        [x, self.matrices, z]
    }
}

/// Updates `param`.
pub fn adafactor<T: Real>(
    grad: &[T],
    norm_sq: &[T],
    hyper: &[T],
    rows: &[T],
    columns: &[T],
    param: &mut [T],
    p: &AdafactorParams,
) {
    if !norm_sq[0].is_finite() {
        return;
    }
    let factor = gradient_factor(hyper[7], hyper[8], norm_sq[0]);
    let height = p.rows / p.matrices;
    for matrix in 0..p.matrices {
        let row = |i: u32| rows[(p.row_offset + matrix * height + i) as usize];
        let total = tree_sum::<LANES, T>(height as usize, |i| row(u32::try_from(i).unwrap_or(u32::MAX)));
        for within in 0..height * p.cols {
            let element = matrix * height * p.cols + within;
            if !(p.begin..p.end).contains(&element) {
                continue;
            }
            let (i, j) = (within / p.cols, within % p.cols);
            let column = columns[(p.column_offset + if p.vector == 1 { 0 } else { matrix * p.cols + j }) as usize];
            let whole = if total > T::zero() { row(i) * column / total } else { T::zero() };
            let square = if p.vector == 1 { row(i) } else { whole };
            let g = grad[(p.grad_offset + element - p.begin) as usize] * factor;
            param[(p.param_offset + element - p.begin) as usize] -=
                hyper[0] * (g / ((square / hyper[6]).sqrt() + hyper[3]));
        }
    }
}
