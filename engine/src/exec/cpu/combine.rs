//! Brings rows of experts back to their tokens: `y[t, :] = sum_c rows[assignment[t, c], :] * (weighted ? weights[t, c] : 1)`.
//! What was dropped adds nothing.
//!
//! `y` is `[tokens, cols]`, `weights` and `assignment` are `[tokens, per_token]`. Without weights any buffer may be bound in
//! their place.

use super::Real;
use super::assign::DROPPED;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`combine`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct CombineParams {
    /// Tokens.
    pub tokens: u32,
    /// Width of a row.
    pub cols: u32,
    /// Experts of a token.
    pub per_token: u32,
    /// 1 to weigh.
    pub weighted: u32,
}

impl KernelParams for CombineParams {
    const KERNEL: Kernel = Kernel::Combine;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.tokens * self.cols)
    }
}

/// Writes `y`.
pub fn combine<T: Real>(rows: &[T], weights: &[T], assignment: &[u32], y: &mut [T], p: &CombineParams) {
    let (cols, per_token) = (p.cols as usize, p.per_token as usize);
    for i in 0..p.tokens as usize * cols {
        let mut sum = T::zero();
        for choice in i / cols * per_token..(i / cols + 1) * per_token {
            let row = assignment[choice];
            if row & DROPPED == 0 {
                let value = rows[row as usize * cols + i % cols];
                sum += if p.weighted == 1 { value * weights[choice] } else { value };
            }
        }
        y[i] = sum;
    }
}
