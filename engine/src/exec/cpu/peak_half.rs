//! Multiplies and adds without touching memory, to find the peak rate: eight independent chains of
//! `x = x * factor + 1` for every invocation, and their sum.
//!
//! In half precision, four numbers in a vector, which are alike. `out` is `[n]`.

use super::Real;
use super::peak::PeakParams;
use crate::exec::Format;
use crate::exec::kernel::{Kernel, KernelParams};

/// Parameters of [`peak_half`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct PeakHalfParams(pub PeakParams);

impl KernelParams for PeakHalfParams {
    const KERNEL: Kernel = Kernel::PeakHalf;

    fn grid(&self) -> [u32; 3] {
        self.0.grid()
    }
}

/// Writes `out`.
pub fn peak_half<T: Real>(out: &mut [T], PeakHalfParams(p): &PeakHalfParams) {
    let round = |x: f32| Format::F16.decode(Format::F16.encode(x));
    for (i, out) in out.iter_mut().enumerate().take(p.n as usize) {
        let mut chains: [f32; 8] = std::array::from_fn(|c| (i % 7 + c) as f32);
        for _ in 0..p.rounds {
            for x in &mut chains {
                *x = round(*x * p.factor + 1.0);
            }
        }
        *out = T::of(f64::from(chains.into_iter().fold(0.0, |sum, x| round(sum + x))));
    }
}
