//! Gradient of `combine` for the weights: `dweights[t, c] = rows[assignment[t, c], :] . dy[t, :]`, 0 for what was dropped.
//!
//! `dy` is `[tokens, cols]`, `assignment` and `dweights` are `[tokens, per_token]`.

use super::Real;
use super::assign::DROPPED;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`combine_grad_weights`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct CombineGradWeightsParams {
    /// Tokens.
    pub tokens: u32,
    /// Width of a row.
    pub cols: u32,
    /// Experts of a token.
    pub per_token: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 1],
}

impl KernelParams for CombineGradWeightsParams {
    const KERNEL: Kernel = Kernel::CombineGradWeights;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.tokens * self.per_token)
    }
}

/// Writes `dweights`.
pub fn combine_grad_weights<T: Real>(
    rows: &[T],
    assignment: &[u32],
    dy: &[T],
    dweights: &mut [T],
    p: &CombineGradWeightsParams,
) {
    let (cols, per_token) = (p.cols as usize, p.per_token as usize);
    for choice in 0..p.tokens as usize * per_token {
        let row = assignment[choice];
        let mut sum = T::zero();
        if row & DROPPED == 0 {
            for col in 0..cols {
                sum += rows[row as usize * cols + col] * dy[choice / per_token * cols + col];
            }
        }
        dweights[choice] = sum;
    }
}
