//! Rotary positions (Su et al. 2021) on the query and key heads of fused rows; the value heads are copied.
//!
//! `x` and `y` are `[T, groups * (q_per_group + 2) * head_dim]`: each group holds its query heads, a key head, a value head.
//! The pair `(d, d + head_dim/2)` turns by the angle `pos * theta^(-2d / head_dim)` with `pos = t mod seq * stride + first`.
//! A rotation is its own gradient when turned backward, which `direction` does.

use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`rope`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct RopeParams {
    /// Rows, one per token.
    pub rows: u32,
    /// Tokens of a sequence that this rank has.
    pub seq: u32,
    /// Groups of heads: one key and value head each.
    pub groups: u32,
    /// Query heads in a group.
    pub q_per_group: u32,
    /// Width of a head, even.
    pub head_dim: u32,
    /// Base of the wavelengths.
    pub theta: f32,
    /// 1 rotates forward, -1 backward.
    pub direction: f32,
    /// Positions from a row to the next.
    pub stride: u32,
    /// Position of the first row.
    pub first: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 3],
}

impl KernelParams for RopeParams {
    const KERNEL: Kernel = Kernel::Rope;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.rows * self.groups * (self.q_per_group + 2) * (self.head_dim / 2))
    }
}

/// Writes `y`.
pub fn rope<T: Real>(x: &[T], y: &mut [T], p: &RopeParams) {
    let half_dim = p.head_dim as usize / 2;
    let heads = p.groups as usize * (p.q_per_group as usize + 2);
    for i in 0..p.rows as usize * heads * half_dim {
        let d = i % half_dim;
        let head = i / half_dim % heads;
        let position = i / half_dim / heads % p.seq as usize * p.stride as usize + p.first as usize;

        let first = i / half_dim * p.head_dim as usize + d;
        let second = first + half_dim;
        let is_value = head % (p.q_per_group as usize + 2) == p.q_per_group as usize + 1;
        let angle = if is_value { T::zero() } else { angle(position, d, p) };
        let (sin, cos) = angle.sin_cos();
        y[first] = x[first] * cos - x[second] * sin;
        y[second] = x[first] * sin + x[second] * cos;
    }
}

fn angle<T: Real>(position: usize, d: usize, p: &RopeParams) -> T {
    let exponent = -real::<T>(2.0) * T::of(d as f64) / real(p.head_dim);
    real::<T>(p.direction) * T::of(position as f64) * real::<T>(p.theta).powf(exponent)
}
