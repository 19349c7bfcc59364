//! Gradient of `route` for the scores: `dscores[t, e] = w * (dw - sum_c w_c dw_c)` for the chosen experts, 0 for others.
//!
//! `assignment` and `dweights` are `[rows, per_token]`, `scores` and `dscores` are `[rows, experts]`. The weights are
//! computed again.

use super::Real;
use super::assign::DROPPED;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`route_grad`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct RouteGradParams {
    /// Tokens.
    pub rows: u32,
    /// Experts to choose from.
    pub experts: u32,
    /// Experts of a token.
    pub per_token: u32,
    /// Rows of an expert.
    pub capacity: u32,
}

impl KernelParams for RouteGradParams {
    const KERNEL: Kernel = Kernel::RouteGrad;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.rows)
    }
}

/// Writes `dscores`.
pub fn route_grad<T: Real>(scores: &[T], assignment: &[u32], dweights: &[T], dscores: &mut [T], p: &RouteGradParams) {
    let (experts, per_token) = (p.experts as usize, p.per_token as usize);
    for t in 0..p.rows as usize {
        let (scores, dscores) = (&scores[t * experts..][..experts], &mut dscores[t * experts..][..experts]);
        let chosen = assignment[t * per_token..][..per_token].iter().map(|&row| expert_of(row, p.capacity));
        let dweights = &dweights[t * per_token..][..per_token];
        dscores.fill(T::zero());
        let largest = chosen.clone().next().map_or(T::zero(), |first| scores[first]);
        let (mut sum, mut weighted) = (T::zero(), T::zero());
        for (expert, &dweight) in chosen.clone().zip(dweights) {
            let weight = (scores[expert] - largest).exp();
            sum += weight;
            weighted += weight * dweight;
        }
        for (expert, &dweight) in chosen.zip(dweights) {
            dscores[expert] = (scores[expert] - largest).exp() / sum * (dweight - weighted / sum);
        }
    }
}

fn expert_of(row: u32, capacity: u32) -> usize {
    (if row & DROPPED != 0 { row & !DROPPED } else { row / capacity }) as usize
}
