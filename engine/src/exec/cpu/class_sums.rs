//! What a cross entropy of few classes needs of each row: `out[t] = (sum_j exp(logits[t, j] - m), logits[t, target] - m)` with
//! `m = max_j logits[t, j]`.
//!
//! `logits` is `[rows, cols]`, a part of all rows; `targets` are the classes of all; `out` is `[rows, 2]`, as `cross_entropy`
//! reads it.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`class_sums`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct ClassSumsParams {
    /// Rows, one per sample.
    pub rows: u32,
    /// Classes.
    pub cols: u32,
    /// Number of the first row that this rank has.
    pub first: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 1],
}

impl KernelParams for ClassSumsParams {
    const KERNEL: Kernel = Kernel::ClassSums;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.rows)
    }
}

/// Writes `out`.
pub fn class_sums<T: Real>(logits: &[T], targets: &[u32], out: &mut [T], p: &ClassSumsParams) {
    for (t, row) in logits.chunks(p.cols as usize).take(p.rows as usize).enumerate() {
        let m = largest(row);
        out[2 * t] = row.iter().fold(T::zero(), |sum, &logit| sum + (logit - m).exp());
        out[2 * t + 1] = row[targets[p.first as usize + t] as usize] - m;
    }
}

/// The largest logit of a row.
pub(super) fn largest<T: Real>(row: &[T]) -> T {
    row.iter().fold(row[0], |m, &logit| m.max(logit))
}
