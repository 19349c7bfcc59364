//! Gradient of `attention` for keys and values (Dao et al. 2022, appendix B).
//! Recomputes `p = exp(q.k * scale - lse)`; then `ds = p * (dout.v - delta) * scale`, `dk = sum_i ds q`, `dv = sum_i p dout`
//! over the query heads of the group and the queries from the key's own token on.
//!
//! `qkv` and `dqkv` are fused rows as in `attention`, of which only the key and value heads of `dqkv` are written.
//! `dout` is `[T, heads * head_dim]`, `lse` and `delta` are `[T, heads]`.

use super::attention::{BLOCK, Layout, dots, lanes, weigh};
use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`attention_grad_kv`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct AttentionGradKvParams {
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

impl KernelParams for AttentionGradKvParams {
    const KERNEL: Kernel = Kernel::AttentionGradKv;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.batch * self.seq * self.groups)
    }
}

/// Writes `dqkv`.
pub fn attention_grad_kv<T: Real>(
    qkv: &[T],
    dout: &[T],
    lse: &[T],
    delta: &[T],
    dqkv: &mut [T],
    p: &AttentionGradKvParams,
) {
    let layout = Layout::new(p.groups, p.q_per_group, p.head_dim);
    let (groups, q_per_group) = (p.groups as usize, p.q_per_group as usize);
    for i in 0..p.batch as usize * p.seq as usize * groups {
        let (t, group) = (i / groups, i % groups);
        dqkv[layout.key_at(t, group)..][..2 * layout.head_dim].fill(T::zero());
        for h in group * q_per_group..(group + 1) * q_per_group {
            add_head(qkv, dout, lse, delta, dqkv, t, h, p);
        }
    }
}

/// Adds what the queries of head `h` from token `t` on contribute to the gradients of key and value of `t`.
fn add_head<T: Real>(
    qkv: &[T],
    dout: &[T],
    lse: &[T],
    delta: &[T],
    dqkv: &mut [T],
    t: usize,
    h: usize,
    p: &AttentionGradKvParams,
) {
    let layout = Layout::new(p.groups, p.q_per_group, p.head_dim);
    let (seq, heads) = (p.seq as usize, p.groups as usize * p.q_per_group as usize);
    let group = layout.group(h);
    let (k, v) = (layout.key(qkv, t, group), layout.value(qkv, t, group));
    let (_, dkv) = dqkv.split_at_mut(layout.key_at(t, group));
    let (dk, dv) = dkv.split_at_mut(layout.head_dim);
    let last = t - t % seq + seq - 1;
    for i0 in (t..=last).step_by(BLOCK) {
        // Lanes beyond the sequence compute its last query again, without weight.
        let i = lanes(i0, last);
        let q = i.map(|i| layout.query(qkv, i, h));
        let stat = i.map(|i| i * heads + h);
        let o = stat.map(|stat| &dout[stat * layout.head_dim..][..layout.head_dim]);
        let (s, dp) = (dots(k, q), dots(v, o));
        let (mut prob, mut ds) = ([T::zero(); BLOCK], [T::zero(); BLOCK]);
        for x in 0..BLOCK.min(last + 1 - i0) {
            prob[x] = (s[x] * real(p.scale) - lse[stat[x]]).exp();
            ds[x] = prob[x] * (dp[x] - delta[stat[x]]) * real(p.scale);
        }
        for d in 0..layout.head_dim {
            dk[d] += weigh(ds, q, d);
            dv[d] += weigh(prob, o, d);
        }
    }
}
