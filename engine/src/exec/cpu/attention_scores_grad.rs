//! Gradient of `attention_scores`, joined with that of the values: `dq = sum_j ds k`, `dk = sum_t ds q`, both times `scale`, over
//! the query heads of a group where they share a key, and the sum of their `dv`.
//!
//! `ds` is `[T, heads * keys]`, `dv` is `[T, heads * value_dim]`, `qkv` and `dqkv` are as in `attention`.

use super::Real;
use super::attention::AttentionParams;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`attention_scores_grad`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct AttentionScoresGradParams(pub AttentionParams);

impl KernelParams for AttentionScoresGradParams {
    const KERNEL: Kernel = Kernel::AttentionScoresGrad;

    fn grid(&self) -> [u32; 3] {
        let p = &self.0;
        elementwise_grid(p.batch * p.queries * p.groups * ((p.q_per_group + 1) * p.head_dim + p.value_dim))
    }
}

/// Writes `dqkv`.
pub fn attention_scores_grad<T: Real>(
    ds: &[T],
    qkv: &[T],
    dv: &[T],
    dqkv: &mut [T],
    AttentionScoresGradParams(p): &AttentionScoresGradParams,
) {
    let (head_dim, value_dim, q_per_group) = (p.head_dim as usize, p.value_dim as usize, p.q_per_group as usize);
    let queries = q_per_group * head_dim;
    let width = queries + head_dim + value_dim;
    for i in 0..p.rows() * p.groups as usize * width {
        let (t, first, e) = (i / width / p.groups as usize, i / width % p.groups as usize * q_per_group, i % width);
        dqkv[i] = if e < queries {
            of_query(ds, qkv, [t, first + e / head_dim, e % head_dim], p)
        } else if e < queries + head_dim {
            (first..first + q_per_group).fold(T::zero(), |sum, h| sum + of_key(ds, qkv, [t, h, e - queries], p))
        } else {
            let value = |h: usize| dv[(t * p.heads() + h) * value_dim + e - queries - head_dim];
            (first..first + q_per_group).fold(T::zero(), |sum, h| sum + value(h))
        };
    }
}

/// Element `d` of the gradient of a query.
fn of_query<T: Real>(ds: &[T], qkv: &[T], [t, h, d]: [usize; 3], p: &AttentionParams) -> T {
    let keys = p.keys as usize;
    let (first, row) = (t / p.queries as usize * keys, (t * p.heads() + h) * keys);
    let term = |j: usize| ds[row + j] * p.key(qkv, first + j, h)[d];
    (0..keys).fold(T::zero(), |sum, j| sum + term(j)) * T::of(p.scale.into())
}

/// Element `d` of what the queries of a head give to the gradient of a key.
fn of_key<T: Real>(ds: &[T], qkv: &[T], [row, h, d]: [usize; 3], p: &AttentionParams) -> T {
    let (keys, queries) = (p.keys as usize, p.queries as usize);
    let first = row / keys * queries;
    let term = |t: usize| ds[(t * p.heads() + h) * keys + row % keys] * p.query(qkv, t, h)[d];
    (first..first + queries).fold(T::zero(), |sum, t| sum + term(t)) * T::of(p.scale.into())
}
