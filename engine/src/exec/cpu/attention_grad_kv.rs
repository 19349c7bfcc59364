//! Gradient of `attention` for keys and values (Dao et al. 2022, appendix B).
//! Recomputes `p = exp(q.k * scale - lse)`; then `ds = p * (dout.v - delta) * scale`, `dk = sum_i ds q`, `dv = sum_i p dout`
//! over the query heads of the group and the queries that see the key.
//!
//! `qkv` and `kv` are as in `attention`. `dkv` lies as `kv` does; only its keys and values are written, with `CARRY` added
//! to. `dout` is `[T, heads * value_dim]`, `lse` and `delta` are `[T, heads]`.

use super::attention::{AttentionParams, BLOCK, CARRY, OWN, dots, lanes, weigh};
use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`attention_grad_kv`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct AttentionGradKvParams(pub AttentionParams);

impl KernelParams for AttentionGradKvParams {
    const KERNEL: Kernel = Kernel::AttentionGradKv;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.0.batch * self.0.keys.div_ceil(OWN) * self.0.groups)
    }
}

/// Writes `dkv`.
pub fn attention_grad_kv<T: Real>(
    qkv: &[T],
    kv: &[T],
    dout: &[T],
    lse: &[T],
    delta: &[T],
    dkv: &mut [T],
    AttentionGradKvParams(p): &AttentionGradKvParams,
) {
    let (groups, q_per_group) = (p.groups as usize, p.q_per_group as usize);
    for i in 0..p.batch as usize * p.keys as usize * groups {
        let (key, group) = (i / groups, i % groups);
        let (sequence, j) = (key / p.keys as usize, key % p.keys as usize);
        let width = p.head_dim as usize + p.value_dim as usize;
        let target = &mut dkv[p.key_at(p.key_row(sequence, j), group)..][..width];
        if p.flags & CARRY == 0 {
            target.fill(T::zero());
        }
        for h in group * q_per_group..(group + 1) * q_per_group {
            add_head(qkv, kv, dout, lse, delta, target, [sequence, j, h], p);
        }
    }
}

/// Adds what the queries of head `h` contribute to the gradients of key and value `j` of a sequence.
fn add_head<T: Real>(
    qkv: &[T],
    kv: &[T],
    dout: &[T],
    lse: &[T],
    delta: &[T],
    target: &mut [T],
    [sequence, j, h]: [usize; 3],
    p: &AttentionParams,
) {
    let (heads, value_dim) = (p.heads(), p.value_dim as usize);
    let row = p.key_row(sequence, j);
    let (k, v) = (p.key(kv, row, h), p.value(kv, row, h));
    let (dk, dv) = target.split_at_mut(p.head_dim as usize);
    let seeing = p.queries_of(j);
    for i0 in seeing.clone().step_by(BLOCK) {
        // Lanes beyond the last query compute it again, without weight.
        let t = lanes(i0, seeing.end - 1).map(|i| sequence * p.queries as usize + i);
        let q = t.map(|t| p.query(qkv, t, h));
        let stat = t.map(|t| t * heads + h);
        let o = stat.map(|stat| &dout[stat * value_dim..][..value_dim]);
        let (s, dp) = (dots(k, q), dots(v, o));
        let (mut prob, mut ds) = ([T::zero(); BLOCK], [T::zero(); BLOCK]);
        for x in 0..BLOCK.min(seeing.end - i0) {
            prob[x] = (s[x] * real(p.scale) - lse[stat[x]]).exp();
            ds[x] = prob[x] * (dp[x] - delta[stat[x]]) * real(p.scale);
        }
        for d in 0..dk.len() {
            dk[d] += weigh(ds, q, d);
        }
        for d in 0..dv.len() {
            dv[d] += weigh(prob, o, d);
        }
    }
}
