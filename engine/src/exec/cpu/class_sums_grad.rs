//! Gradient of the cross entropy of few classes: `dlogits[t, j] = (exp(logits[t, j] - m) / s[t] - [j = target]) * scale` with
//! `m = max_j logits[t, j]`.
//!
//! `logits` and `dlogits` are `[rows, cols]`, a part of all rows; `stats` is `[rows, 2]` from `class_sums` and holds `s` first;
//! `targets` are the classes of all rows.

use super::class_sums::largest;
use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`class_sums_grad`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct ClassSumsGradParams {
    /// Rows, one per sample.
    pub rows: u32,
    /// Classes.
    pub cols: u32,
    /// Factor on the loss.
    pub scale: f32,
    /// Number of the first row that this rank has.
    pub first: u32,
}

impl KernelParams for ClassSumsGradParams {
    const KERNEL: Kernel = Kernel::ClassSumsGrad;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.rows)
    }
}

impl ClassSumsGradParams {
    /// The word with the scale.
    pub(in crate::exec) const SCALE: usize = 2;
}

/// Writes `dlogits`.
pub fn class_sums_grad<T: Real>(
    logits: &[T],
    stats: &[T],
    targets: &[u32],
    dlogits: &mut [T],
    p: &ClassSumsGradParams,
) {
    let cols = p.cols as usize;
    for (t, row) in logits.chunks(cols).take(p.rows as usize).enumerate() {
        let m = largest(row);
        for (j, &logit) in row.iter().enumerate() {
            let probability = (logit - m).exp() / stats[2 * t];
            let hit = if j == targets[p.first as usize + t] as usize { T::one() } else { T::zero() };
            dlogits[t * cols + j] = (probability - hit) * real(p.scale);
        }
    }
}
