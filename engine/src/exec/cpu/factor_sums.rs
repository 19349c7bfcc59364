//! Squares of a gradient summed by the rows and the columns of its matrices (Shazeer & Stern 2018, "Adafactor", algorithm
//! 4), of which a rank may have a part: elements `begin..end` of `matrices` that lie below each other, `rows` in all.
//!
//! The sums are those of all rows, then of the columns of each matrix; `out` gets `count` of them, from `first` on. With
//! `moment` they become the moment `beta2 out + (1 - beta2) sum` of gradients that are unscaled and clipped as in `adamw`,
//! and a norm that is not finite changes nothing; without, the bare sums, and what is bound for norm and hyper-parameters is
//! not used.

use super::Real;
use super::adamw::gradient_factor;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`factor_sums`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct FactorSumsParams {
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
    /// The first sum that is wanted.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// Where the first goes.
    pub out_offset: u32,
    /// 1 for moments, 0 for sums.
    pub moment: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 2],
}

impl KernelParams for FactorSumsParams {
    const KERNEL: Kernel = Kernel::FactorSums;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.count)
    }
}

/// Writes `out`.
pub fn factor_sums<T: Real>(grad: &[T], norm_sq: &[T], hyper: &[T], out: &mut [T], p: &FactorSumsParams) {
    if p.moment == 1 && !norm_sq[0].is_finite() {
        return;
    }
    let square = |element: u32| {
        let here = (p.begin..p.end).contains(&element);
        let g = if here { grad[(p.grad_offset + element - p.begin) as usize] } else { T::zero() };
        g * g
    };
    for i in 0..p.count {
        // From one term to the next: along a row, or down a column.
        let (start, stride, terms) = if p.first + i < p.rows {
            ((p.first + i) * p.cols, 1, p.cols)
        } else {
            let (column, height) = (p.first + i - p.rows, p.rows / p.matrices);
            (column / p.cols * height * p.cols + column % p.cols, p.cols, height)
        };
        let sum = (0..terms).fold(T::zero(), |sum, term| sum + square(start + term * stride));
        let out = &mut out[(p.out_offset + i) as usize];
        *out = if p.moment == 1 {
            let factor = gradient_factor(hyper[7], hyper[8], norm_sq[0]);
            hyper[2] * *out + (T::one() - hyper[2]) * factor * factor * sum
        } else {
            sum
        };
    }
}
