//! Applies an orthogonal update (Liu et al. 2025, "Moonlight", equation 4):
//! `param -= lr (scale * direction + weight_decay * param)`.
//!
//! `hyper` is as in `adamw`; a norm that is not finite changes nothing. Parts of buffers are updated, from the offsets on.

use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`muon`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct MuonParams {
    /// Number of elements.
    pub n: u32,
    /// First element of `direction`.
    pub from: u32,
    /// First element of `param`.
    pub to: u32,
    /// 1 with weight decay, 0 without.
    pub decays: u32,
    /// Factor on the direction: `0.2 √max(rows, columns)` gives updates the size of AdamW's.
    pub scale: f32,
    /// Fills up 16 bytes.
    pub pad: [u32; 3],
}

impl KernelParams for MuonParams {
    const KERNEL: Kernel = Kernel::Muon;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Updates `param`.
pub fn muon<T: Real>(direction: &[T], norm_sq: &[T], hyper: &[T], param: &mut [T], p: &MuonParams) {
    if !norm_sq[0].is_finite() {
        return;
    }
    let weight_decay = if p.decays == 1 { hyper[4] } else { T::zero() };
    for i in 0..p.n as usize {
        let (step, param) = (real::<T>(p.scale) * direction[p.from as usize + i], &mut param[p.to as usize + i]);
        *param -= hyper[0] * (step + weight_decay * *param);
    }
}
