//! Gradient of `attention_values` for the values, of every query head apart: `dv[j, h] = sum_t p[t, h, j] * dout[t, h]`.
//!
//! `dv` is `[T, heads * value_dim]` as `dout` is; all else is as in `attention_values`.

use super::Real;
use super::attention::AttentionParams;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`attention_values_grad_v`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct AttentionValuesGradVParams(pub AttentionParams);

impl KernelParams for AttentionValuesGradVParams {
    const KERNEL: Kernel = Kernel::AttentionValuesGradV;

    fn grid(&self) -> [u32; 3] {
        let p = &self.0;
        elementwise_grid(p.batch * p.keys * p.groups * p.q_per_group * p.value_dim)
    }
}

/// Writes `dv`.
pub fn attention_values_grad_v<T: Real>(
    p: &[T],
    dout: &[T],
    dv: &mut [T],
    AttentionValuesGradVParams(params): &AttentionValuesGradVParams,
) {
    let (keys, value_dim, heads) = (params.keys as usize, params.value_dim as usize, params.heads());
    for i in 0..params.batch as usize * keys * heads * value_dim {
        let (row, h) = (i / value_dim / heads, i / value_dim % heads);
        let first = row / keys * params.queries as usize;
        let term =
            |t: usize| p[(t * heads + h) * keys + row % keys] * dout[(t * heads + h) * value_dim + i % value_dim];
        dv[i] = (first..first + params.queries as usize).fold(T::zero(), |sum, t| sum + term(t));
    }
}
