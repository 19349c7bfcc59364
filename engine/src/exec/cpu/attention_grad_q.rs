//! Gradient of `attention` for the queries (Dao et al. 2022, appendix B).
//! Recomputes `p = exp(q.k * scale - lse)`; then `ds = p * (dout.v - delta) * scale` and `dq = sum_j ds k`.
//!
//! `qkv` and `dqkv` are fused rows as in `attention`, of which only the query heads of `dqkv` are written.
//! `dout` is `[T, heads * head_dim]`, `lse` and `delta` are `[T, heads]`.

use super::attention::{BLOCK, Layout, dots, lanes, weigh};
use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`attention_grad_q`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct AttentionGradQParams {
    /// Number of sequences.
    pub batch: u32,
    /// Tokens of a sequence.
    pub seq: u32,
    /// Groups of heads: one key and value head each.
    pub groups: u32,
    /// Query heads in a group.
    pub q_per_group: u32,
    /// Width of a head.
    pub head_dim: u32,
    /// Factor on the scores.
    pub scale: f32,
    /// Fills up 16 bytes.
    pub pad: [u32; 2],
}

impl KernelParams for AttentionGradQParams {
    const KERNEL: Kernel = Kernel::AttentionGradQ;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.batch * self.seq * self.groups * self.q_per_group)
    }
}

/// Writes `dqkv`.
pub fn attention_grad_q<T: Real>(
    qkv: &[T],
    dout: &[T],
    lse: &[T],
    delta: &[T],
    dqkv: &mut [T],
    p: &AttentionGradQParams,
) {
    let layout = Layout::new(p.groups, p.q_per_group, p.head_dim);
    let heads = p.groups as usize * p.q_per_group as usize;
    for i in 0..p.batch as usize * p.seq as usize * heads {
        let (t, h) = (i / heads, i % heads);
        let first = t - t % p.seq as usize;
        let q = layout.query(qkv, t, h);
        let o = &dout[i * layout.head_dim..][..layout.head_dim];
        let dq = &mut dqkv[layout.query_at(t, h)..][..layout.head_dim];
        dq.fill(T::zero());
        for j0 in (first..=t).step_by(BLOCK) {
            // Lanes beyond the query compute its own key again, without weight.
            let j = lanes(j0, t);
            let k = j.map(|j| layout.key(qkv, j, layout.group(h)));
            let v = j.map(|j| layout.value(qkv, j, layout.group(h)));
            let (s, dp) = (dots(q, k), dots(o, v));
            let mut ds = [T::zero(); BLOCK];
            for x in 0..BLOCK.min(t + 1 - j0) {
                let prob = (s[x] * real(p.scale) - lse[i]).exp();
                ds[x] = prob * (dp[x] - delta[i]) * real(p.scale);
            }
            for d in 0..layout.head_dim {
                dq[d] += weigh(ds, k, d);
            }
        }
    }
}
