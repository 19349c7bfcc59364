//! The largest elements by magnitude of what has not been sent yet (Lin et al. 2018, "Deep gradient compression"; error
//! feedback: Karimireddy et al. 2019): `error += grad`, then the `kept` largest go to `largest`, each as its value and its
//! place, by place, and are taken out of the error. Of equals the first ones go.
//!
//! One workgroup of the shader finds the least magnitude that goes, byte by byte from the highest, and writes.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams};

/// Parameters of [`select_largest`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct SelectLargestParams {
    /// Number of elements.
    pub n: u32,
    /// How many go.
    pub kept: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 2],
}

impl KernelParams for SelectLargestParams {
    const KERNEL: Kernel = Kernel::SelectLargest;

    fn grid(&self) -> [u32; 3] {
        [1, 1, 1]
    }
}

/// Writes `largest`, updates `error`.
pub fn select_largest<T: Real>(grad: &[T], largest: &mut [u32], error: &mut [T], p: &SelectLargestParams) {
    let n = p.n as usize;
    for i in 0..n {
        error[i] += grad[i];
    }
    let bits = |x: T| x.to_f32().unwrap_or(f32::NAN).to_bits();
    let mut order: Vec<usize> = (0..n).collect();
    // Stable: of equals the first ones stay in front.
    order.sort_by_key(|&i| std::cmp::Reverse(bits(error[i]) & 0x7fff_ffff));
    order.truncate(p.kept as usize);
    order.sort_unstable();
    for (pair, i) in largest.chunks_mut(2).zip(order) {
        pair.copy_from_slice(&[bits(error[i]), u32::try_from(i).unwrap_or(u32::MAX)]);
        error[i] = T::zero();
    }
}
