//! Gradient of `attention_values` for the weights: `dp[t, h, j] = dout[t, h] . v[j, h]`.
//!
//! All are as in `attention_values`.

use super::Real;
use super::attention::AttentionParams;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`attention_values_grad_p`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct AttentionValuesGradPParams(pub AttentionParams);

impl KernelParams for AttentionValuesGradPParams {
    const KERNEL: Kernel = Kernel::AttentionValuesGradP;

    fn grid(&self) -> [u32; 3] {
        let p = &self.0;
        elementwise_grid(p.batch * p.queries * p.groups * p.q_per_group * p.keys)
    }
}

/// Writes `dp`.
pub fn attention_values_grad_p<T: Real>(
    qkv: &[T],
    dout: &[T],
    dp: &mut [T],
    AttentionValuesGradPParams(p): &AttentionValuesGradPParams,
) {
    let (keys, value_dim, heads) = (p.keys as usize, p.value_dim as usize, p.heads());
    for i in 0..p.rows() * heads * keys {
        let head = i / keys;
        let row = head / heads / p.queries as usize * keys + i % keys;
        let pairs = dout[head * value_dim..][..value_dim].iter().zip(p.value(qkv, row, head % heads));
        dp[i] = pairs.fold(T::zero(), |sum, (o, v)| sum + *o * *v);
    }
}
