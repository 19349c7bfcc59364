//! Gradient of `attention` for the queries (Dao et al. 2022, appendix B).
//! Recomputes `p = exp(q.k * scale - lse)`; then `ds = p * (dout.v - delta) * scale` and `dq = sum_j ds k`.
//!
//! `qkv`, `kv` and `dqkv` are as in `attention`; only the query heads of `dqkv` are written, with `CARRY` added to.
//! `dout` is `[T, heads * value_dim]`, `lse` and `delta` are `[T, heads]`.

use super::attention::{AttentionParams, BLOCK, CARRY, OWN, dots, lanes, weigh};
use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`attention_grad_q`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct AttentionGradQParams(pub AttentionParams);

impl KernelParams for AttentionGradQParams {
    const KERNEL: Kernel = Kernel::AttentionGradQ;

    fn grid(&self) -> [u32; 3] {
        let p = &self.0;
        elementwise_grid(p.batch * p.queries.div_ceil(OWN) * p.groups * p.q_per_group)
    }
}

/// Writes `dqkv`.
pub fn attention_grad_q<T: Real>(
    qkv: &[T],
    kv: &[T],
    dout: &[T],
    lse: &[T],
    delta: &[T],
    dqkv: &mut [T],
    AttentionGradQParams(p): &AttentionGradQParams,
) {
    let (heads, value_dim) = (p.heads(), p.value_dim as usize);
    for i in 0..p.rows() * heads {
        let (t, h) = (i / heads, i % heads);
        let (q, o) = (p.query(qkv, t, h), &dout[i * value_dim..][..value_dim]);
        let dq = &mut dqkv[p.query_at(t, h)..][..p.head_dim as usize];
        if p.flags & CARRY == 0 {
            dq.fill(T::zero());
        }
        let seen = p.keys_of(t);
        for j0 in seen.clone().step_by(BLOCK) {
            // Lanes beyond the last key compute it again, without weight.
            let rows = lanes(j0, seen.end - 1).map(|j| p.key_row(t / p.queries as usize, j));
            let k = rows.map(|row| p.key(kv, row, h));
            let (s, dp) = (dots(q, k), dots(o, rows.map(|row| p.value(kv, row, h))));
            let mut ds = [T::zero(); BLOCK];
            for x in 0..BLOCK.min(seen.end - j0) {
                let prob = (s[x] * real(p.scale) - lse[i]).exp();
                ds[x] = prob * (dp[x] - delta[i]) * real(p.scale);
            }
            for d in 0..dq.len() {
                dq[d] += weigh(ds, k, d);
            }
        }
    }
}
