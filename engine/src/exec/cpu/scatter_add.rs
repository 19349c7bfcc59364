//! Adds values to the places that stand behind them: `x[place] += value` for `n` pairs from pair `first` on. No place comes
//! twice among them.

use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`scatter_add`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct ScatterAddParams {
    /// Number of pairs.
    pub n: u32,
    /// The first of them.
    pub first: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 2],
}

impl KernelParams for ScatterAddParams {
    const KERNEL: Kernel = Kernel::ScatterAdd;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.n)
    }
}

/// Updates `x`.
pub fn scatter_add<T: Real>(pairs: &[u32], x: &mut [T], p: &ScatterAddParams) {
    for pair in pairs[2 * p.first as usize..].chunks(2).take(p.n as usize) {
        if let Some(x) = x.get_mut(pair[1] as usize) {
            *x += real::<T>(f32::from_bits(pair[0]));
        }
    }
}
