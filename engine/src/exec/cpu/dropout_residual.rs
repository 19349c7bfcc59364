//! Residual connection with dropout of what is added (Megatron-LM's `bias_dropout_add`): `out = x + (y + bias) * scale` where
//! the mask says 1, `x` elsewhere. Without a bias `has_bias` is 0 and any buffer may be bound in its place.

use super::dropout::{DropoutParams, put};
use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams};

/// Parameters of [`dropout_residual`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct DropoutResidualParams(pub DropoutParams);

impl KernelParams for DropoutResidualParams {
    const KERNEL: Kernel = Kernel::DropoutResidual;

    fn grid(&self) -> [u32; 3] {
        self.0.grid()
    }
}

/// Writes `out` and `mask`.
pub fn dropout_residual<T: Real>(
    x: &[T],
    y: &[T],
    bias: &[T],
    step: &[u32],
    out: &mut [T],
    mask: &mut [u32],
    DropoutResidualParams(p): &DropoutResidualParams,
) {
    for i in 0..p.n {
        let (at, kept) = ((p.offset + i) as usize, p.keeps(i, step[0]));
        let added = if p.has_bias == 1 { y[at] + bias[(i % p.cols) as usize] } else { y[at] };
        out[at] = x[at] + if kept { added * real(p.scale) } else { T::zero() };
        put(mask, at, kept);
    }
}
