//! Gradient of `attention_softmax`: `ds = p * (dp - sum_j p dp)`.
//!
//! All are `[T, heads * keys]` with `T = batch * queries`, `heads = groups * q_per_group`.

use super::Real;
use super::attention::AttentionParams;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`attention_softmax_grad`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct AttentionSoftmaxGradParams(pub AttentionParams);

impl KernelParams for AttentionSoftmaxGradParams {
    const KERNEL: Kernel = Kernel::AttentionSoftmaxGrad;

    fn grid(&self) -> [u32; 3] {
        let p = &self.0;
        elementwise_grid(p.batch * p.queries * p.groups * p.q_per_group)
    }
}

/// Writes `ds`.
pub fn attention_softmax_grad<T: Real>(
    p: &[T],
    dp: &[T],
    ds: &mut [T],
    AttentionSoftmaxGradParams(params): &AttentionSoftmaxGradParams,
) {
    let keys = params.keys as usize;
    for i in 0..params.rows() * params.heads() {
        let row = i * keys..(i + 1) * keys;
        let sum = p[row.clone()].iter().zip(&dp[row.clone()]).fold(T::zero(), |sum, (p, dp)| sum + *p * *dp);
        for j in row {
            ds[j] = p[j] * (dp[j] - sum);
        }
    }
}
