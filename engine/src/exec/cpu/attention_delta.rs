//! The row sums that both attention gradients need: `delta[t, h] = sum_d out[t, h, d] * dout[t, h, d]`.
//!
//! `out` and `dout` are `[T, heads * head_dim]`, `delta` is `[T, heads]`,
//! with `T = batch * seq` and `heads = groups * q_per_group`.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`attention_delta`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct AttentionDeltaParams {
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

impl KernelParams for AttentionDeltaParams {
    const KERNEL: Kernel = Kernel::AttentionDelta;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.batch * self.seq * self.groups * self.q_per_group)
    }
}

/// Writes `delta`.
pub fn attention_delta<T: Real>(out: &[T], dout: &[T], delta: &mut [T], p: &AttentionDeltaParams) {
    let head_dim = p.head_dim as usize;
    let heads = p.groups as usize * p.q_per_group as usize;
    for i in 0..p.batch as usize * p.seq as usize * heads {
        let mut sum = T::zero();
        for d in 0..head_dim {
            sum += out[i * head_dim + d] * dout[i * head_dim + d];
        }
        delta[i] = sum;
    }
}
