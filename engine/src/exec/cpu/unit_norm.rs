//! Divides matrices by their Frobenius norms, in place: `x = x / (sqrt(sum x^2) + 1e-7)`, so that no singular value exceeds
//! one (Jordan et al. 2024, "Muon", before the first Newton-Schulz iteration).
//!
//! One workgroup of the shader goes through a matrix.

use super::{Real, lane_sum, real};
use crate::exec::kernel::{Kernel, KernelParams};

/// Parameters of [`unit_norm`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct UnitNormParams {
    /// Elements of a matrix.
    pub n: u32,
    /// First element of the first matrix.
    pub offset: u32,
    /// Matrices, one behind the other.
    pub matrices: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 1],
}

impl KernelParams for UnitNormParams {
    const KERNEL: Kernel = Kernel::UnitNorm;

    fn grid(&self) -> [u32; 3] {
        [self.matrices, 1, 1]
    }
}

/// Scales `x`.
pub fn unit_norm<T: Real>(x: &mut [T], p: &UnitNormParams) {
    let n = p.n as usize;
    for matrix in x[p.offset as usize..].chunks_mut(n).take(p.matrices as usize) {
        let norm = lane_sum(n, |i| matrix[i] * matrix[i]).sqrt() + real(1e-7);
        matrix.iter_mut().for_each(|x| *x /= norm);
    }
}
