//! Softmax of attention that is not fused, over the keys that a token sees; others weigh nothing.
//!
//! `s` and `p` are `[T, heads * keys]` with `T = batch * queries`, `heads = groups * q_per_group`.

use super::Real;
use super::attention::AttentionParams;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`attention_softmax`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct AttentionSoftmaxParams(pub AttentionParams);

impl KernelParams for AttentionSoftmaxParams {
    const KERNEL: Kernel = Kernel::AttentionSoftmax;

    fn grid(&self) -> [u32; 3] {
        let p = &self.0;
        elementwise_grid(p.batch * p.queries * p.groups * p.q_per_group)
    }
}

/// Writes `p`.
pub fn attention_softmax<T: Real>(s: &[T], p: &mut [T], AttentionSoftmaxParams(params): &AttentionSoftmaxParams) {
    let keys = params.keys as usize;
    for i in 0..params.rows() * params.heads() {
        let seen = params.keys_of(i / params.heads());
        let (s, p) = (&s[i * keys..][..keys], &mut p[i * keys..][..keys]);
        let largest = s[seen.clone()].iter().copied().fold(T::neg_infinity(), T::max);
        let sum = s[seen.clone()].iter().fold(T::zero(), |sum, s| sum + (*s - largest).exp());
        p.fill(T::zero());
        for j in seen {
            p[j] = (s[j] - largest).exp() / sum;
        }
    }
}
