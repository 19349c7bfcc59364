//! Routing: `weights[t, :] = softmax` of the `per_token` largest scores of token `t`, `choices[t, :]` their experts, the
//! largest first (Jiang et al. 2024, "Mixtral of Experts", section 2.1). Of equal scores the first expert counts.
//!
//! `scores` is `[rows, experts]`, `weights` and `choices` are `[rows, per_token]`.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`route`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct RouteParams {
    /// Tokens.
    pub rows: u32,
    /// Experts to choose from.
    pub experts: u32,
    /// Experts of a token.
    pub per_token: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 1],
}

impl KernelParams for RouteParams {
    const KERNEL: Kernel = Kernel::Route;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.rows)
    }
}

/// Writes `weights` and `choices`, which are numbers bit for bit.
pub fn route<T: Real>(scores: &[T], weights: &mut [T], choices: &mut [u32], p: &RouteParams) {
    let (experts, per_token) = (p.experts as usize, p.per_token as usize);
    for t in 0..p.rows as usize {
        let scores = &scores[t * experts..][..experts];
        let weights = &mut weights[t * per_token..][..per_token];
        let choices = &mut choices[t * per_token..][..per_token];
        let first = next_best(scores, None);
        let (mut best, mut sum) = (first, T::zero());
        for c in 0..per_token {
            if c > 0 {
                best = next_best(scores, Some(best));
            }
            weights[c] = (scores[best] - scores[first]).exp();
            sum += weights[c];
            choices[c] = best as u32;
        }
        weights.iter_mut().for_each(|weight| *weight /= sum);
    }
}

/// The best expert after `last`: lower, or as good and behind it.
fn next_best<T: Real>(scores: &[T], last: Option<usize>) -> usize {
    let is_left = |e: usize| last.is_none_or(|last| scores[e] < scores[last] || scores[e] == scores[last] && e > last);
    let mut best = scores.len();
    for e in (0..scores.len()).filter(|&e| is_left(e)) {
        if best == scores.len() || scores[e] > scores[best] {
            best = e;
        }
    }
    // Numbers that are none are neither less nor equal: then none is left.
    best.min(scores.len() - 1)
}
