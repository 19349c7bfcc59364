//! Copies tokens to the rows of their experts: `rows[assignment[t, c], :] = x[t, :] * (weighted ? weights[t, c] : 1)`. What
//! was dropped goes nowhere; rows that no token has are left alone.
//!
//! `x` is `[tokens, cols]`, `weights` and `assignment` are `[tokens, per_token]`. Without weights any buffer may be bound in
//! their place.

use super::Real;
use super::assign::DROPPED;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`dispatch`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct DispatchParams {
    /// Tokens.
    pub tokens: u32,
    /// Width of a row.
    pub cols: u32,
    /// Experts of a token.
    pub per_token: u32,
    /// 1 to weigh.
    pub weighted: u32,
}

impl KernelParams for DispatchParams {
    const KERNEL: Kernel = Kernel::Dispatch;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.tokens * self.per_token * self.cols)
    }
}

/// Writes `rows`.
pub fn dispatch<T: Real>(x: &[T], weights: &[T], assignment: &[u32], rows: &mut [T], p: &DispatchParams) {
    let (cols, per_token) = (p.cols as usize, p.per_token as usize);
    for choice in 0..p.tokens as usize * per_token {
        let row = assignment[choice];
        if row & DROPPED != 0 {
            continue;
        }
        for col in 0..cols {
            let value = x[choice / per_token * cols + col];
            rows[row as usize * cols + col] = if p.weighted == 1 { value * weights[choice] } else { value };
        }
    }
}
