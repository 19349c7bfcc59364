//! The momentum that Muon makes orthogonal (Liu et al. 2025, "Moonlight", equation 1): `m = decay m + g`, of which
//! `direction` gets a copy, `g` unscaled and clipped by the global norm as in `adamw`.

use super::adamw::gradient_factor;
use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`muon_momentum`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct MuonMomentumParams {
    /// Number of elements.
    pub n: u32,
    /// What is kept of the momentum.
    pub decay: f32,
    /// Fills up 16 bytes.
    pub pad: [u32; 2],
}

impl KernelParams for MuonMomentumParams {
    const KERNEL: Kernel = Kernel::MuonMomentum;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Updates `m` and writes `direction`.
pub fn muon_momentum<T: Real>(
    grad: &[T],
    norm_sq: &[T],
    hyper: &[T],
    direction: &mut [T],
    m: &mut [T],
    p: &MuonMomentumParams,
) {
    if !norm_sq[0].is_finite() {
        return;
    }
    let factor = gradient_factor(hyper[7], hyper[8], norm_sq[0]);
    for i in 0..p.n as usize {
        m[i] = real::<T>(p.decay) * m[i] + grad[i] * factor;
        direction[i] = m[i];
    }
}
