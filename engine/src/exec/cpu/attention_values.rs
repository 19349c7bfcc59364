//! Values of attention that is not fused: `out[t, h] = sum_j p[t, h, j] * v[j, h]`.
//!
//! `p` is `[T, heads * keys]`, `qkv` as in `attention`, `out` is `[T, heads * value_dim]`, with `T = batch * queries`, `heads = groups * q_per_group`.

use super::Real;
use super::attention::AttentionParams;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`attention_values`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct AttentionValuesParams(pub AttentionParams);

impl KernelParams for AttentionValuesParams {
    const KERNEL: Kernel = Kernel::AttentionValues;

    fn grid(&self) -> [u32; 3] {
        let p = &self.0;
        elementwise_grid(p.batch * p.queries * p.groups * p.q_per_group * p.value_dim)
    }
}

/// Writes `out`.
pub fn attention_values<T: Real>(
    p: &[T],
    qkv: &[T],
    out: &mut [T],
    AttentionValuesParams(params): &AttentionValuesParams,
) {
    let (keys, value_dim, heads) = (params.keys as usize, params.value_dim as usize, params.heads());
    for head in 0..params.rows() * heads {
        let out = &mut out[head * value_dim..][..value_dim];
        out.fill(T::zero());
        let first = head / heads / params.queries as usize * keys;
        for (j, weight) in p[head * keys..][..keys].iter().enumerate() {
            for (sum, v) in out.iter_mut().zip(params.value(qkv, first + j, head % heads)) {
                *sum += *weight * *v;
            }
        }
    }
}
