//! Scores of attention that is not fused: `s[t, h, j] = q[t, h] . k[j, h] * scale`, for all keys `j` of the sequence.
//!
//! `qkv` is as in `attention`, `s` is `[T, heads * keys]` with `T = batch * queries`, `heads = groups * q_per_group`.

use super::Real;
use super::attention::AttentionParams;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`attention_scores`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct AttentionScoresParams(pub AttentionParams);

impl KernelParams for AttentionScoresParams {
    const KERNEL: Kernel = Kernel::AttentionScores;

    fn grid(&self) -> [u32; 3] {
        let p = &self.0;
        elementwise_grid(p.batch * p.queries * p.groups * p.q_per_group * p.keys)
    }
}

/// Writes `s`.
pub fn attention_scores<T: Real>(qkv: &[T], s: &mut [T], AttentionScoresParams(p): &AttentionScoresParams) {
    let (keys, heads) = (p.keys as usize, p.heads());
    for i in 0..p.rows() * heads * keys {
        let (t, h) = (i / keys / heads, i / keys % heads);
        let row = t / p.queries as usize * keys + i % keys;
        let pairs = p.query(qkv, t, h).iter().zip(p.key(qkv, row, h));
        s[i] = pairs.fold(T::zero(), |sum, (q, k)| sum + *q * *k) * T::of(p.scale.into());
    }
}
