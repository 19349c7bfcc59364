//! The row sums that both attention gradients need: `delta[t, h] = sum_d out[t, h, d] * dout[t, h, d]`.
//!
//! `out` and `dout` are `[T, heads * value_dim]`, `delta` is `[T, heads]`,
//! with `T = batch * queries` and `heads = groups * q_per_group`.

use super::Real;
use super::attention::AttentionParams;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`attention_delta`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct AttentionDeltaParams(pub AttentionParams);

impl KernelParams for AttentionDeltaParams {
    const KERNEL: Kernel = Kernel::AttentionDelta;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.0.batch * self.0.queries * self.0.groups * self.0.q_per_group)
    }
}

/// Writes `delta`.
pub fn attention_delta<T: Real>(
    out: &[T],
    dout: &[T],
    delta: &mut [T],
    AttentionDeltaParams(p): &AttentionDeltaParams,
) {
    let value_dim = p.value_dim as usize;
    for i in 0..p.rows() * p.heads() {
        let mut sum = T::zero();
        for d in 0..value_dim {
            sum += out[i * value_dim + d] * dout[i * value_dim + d];
        }
        delta[i] = sum;
    }
}
