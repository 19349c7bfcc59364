//! Joins the parts of latent attention (DeepSeek-AI 2024, "DeepSeek-V2", section 2.1) to fused rows as `attention` reads
//! them: of every head its query, its key and its value.
//!
//! `queries` is `[T, heads * (plain + rotated)]`, `pairs` is `[T, heads * (plain + value)]` with keys and values, `key` is
//! `[T, rotated]`, the part of the key that all heads share. Parts of width `rotated` turn as in `rope`.

use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`latent_join`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct LatentJoinParams {
    /// Rows, one per token.
    pub rows: u32,
    /// Tokens of a sequence that this rank has.
    pub seq: u32,
    /// Heads of this rank.
    pub heads: u32,
    /// Width of the part of a query or key that is not rotated.
    pub plain: u32,
    /// Width of the part that is, even.
    pub rotated: u32,
    /// Width of a value.
    pub value: u32,
    /// Base of the wavelengths.
    pub theta: f32,
    /// Positions from a row to the next.
    pub stride: u32,
    /// Position of the first row.
    pub first: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 3],
}

impl KernelParams for LatentJoinParams {
    const KERNEL: Kernel = Kernel::LatentJoin;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.rows * self.heads)
    }
}

/// Writes `qkv`.
pub fn latent_join<T: Real>(queries: &[T], pairs: &[T], key: &[T], qkv: &mut [T], p: &LatentJoinParams) {
    let (plain, value) = (p.plain as usize, p.value as usize);
    let (half_dim, width) = (p.rotated as usize / 2, plain + p.rotated as usize);
    for head in 0..p.rows as usize * p.heads as usize {
        let t = head / p.heads as usize;
        let q = &queries[head * width..][..width];
        let pair = &pairs[head * (plain + value)..][..plain + value];
        let shared_key = &key[t * 2 * half_dim..][..2 * half_dim];
        let joined = &mut qkv[head * (2 * width + value)..][..2 * width + value];
        let (to_q, rest) = joined.split_at_mut(width);
        let (to_k, to_v) = rest.split_at_mut(width);
        to_q[..plain].copy_from_slice(&q[..plain]);
        to_k[..plain].copy_from_slice(&pair[..plain]);
        for d in 0..half_dim {
            let (sin, cos) = angle::<T>(t, d, p).sin_cos();
            let (low, high) = (plain + d, plain + d + half_dim);
            to_q[low] = q[low] * cos - q[high] * sin;
            to_q[high] = q[low] * sin + q[high] * cos;
            to_k[low] = shared_key[d] * cos - shared_key[d + half_dim] * sin;
            to_k[high] = shared_key[d] * sin + shared_key[d + half_dim] * cos;
        }
        to_v.copy_from_slice(&pair[plain..]);
    }
}

pub(super) fn angle<T: Real>(t: usize, d: usize, p: &LatentJoinParams) -> T {
    let position = t % p.seq as usize * p.stride as usize + p.first as usize;
    let exponent = -real::<T>(2.0) * T::of(d as f64) / real(p.rotated);
    T::of(position as f64) * real::<T>(p.theta).powf(exponent)
}
