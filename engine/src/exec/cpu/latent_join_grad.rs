//! Gradient of `latent_join`: every part turns back. That of `key` is summed over the heads of this rank.
//!
//! `dqkv`, `dqueries`, `dpairs` and `dkey` are as in `latent_join`.

use super::Real;
use super::latent_join::{LatentJoinParams, angle};
use crate::exec::kernel::{Kernel, KernelParams};

/// Parameters of [`latent_join_grad`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct LatentJoinGradParams(pub LatentJoinParams);

impl KernelParams for LatentJoinGradParams {
    const KERNEL: Kernel = Kernel::LatentJoinGrad;

    fn grid(&self) -> [u32; 3] {
        self.0.grid()
    }
}

/// Writes all three gradients.
pub fn latent_join_grad<T: Real>(
    dqkv: &[T],
    dqueries: &mut [T],
    dpairs: &mut [T],
    dkey: &mut [T],
    LatentJoinGradParams(p): &LatentJoinGradParams,
) {
    let (plain, value) = (p.plain as usize, p.value as usize);
    let (half_dim, width) = (p.rotated as usize / 2, plain + p.rotated as usize);
    for head in 0..p.rows as usize * p.heads as usize {
        let t = head / p.heads as usize;
        let joined = &dqkv[head * (2 * width + value)..][..2 * width + value];
        let (q, rest) = joined.split_at(width);
        let (k, v) = rest.split_at(width);
        let to_q = &mut dqueries[head * width..][..width];
        let pair = &mut dpairs[head * (plain + value)..][..plain + value];
        to_q[..plain].copy_from_slice(&q[..plain]);
        pair[..plain].copy_from_slice(&k[..plain]);
        pair[plain..].copy_from_slice(v);
        for d in 0..half_dim {
            let (sin, cos) = angle::<T>(t, d, p).sin_cos();
            let (low, high) = (plain + d, plain + d + half_dim);
            to_q[low] = q[low] * cos + q[high] * sin;
            to_q[high] = q[high] * cos - q[low] * sin;
        }
        if head % p.heads as usize == 0 {
            add_keys(dqkv, &mut dkey[t * 2 * half_dim..][..2 * half_dim], t, p);
        }
    }
}

/// Turns the part of all heads' keys back, and adds them up.
fn add_keys<T: Real>(dqkv: &[T], dkey: &mut [T], t: usize, p: &LatentJoinParams) {
    let (plain, half_dim) = (p.plain as usize, p.rotated as usize / 2);
    let (width, heads) = (plain + 2 * half_dim, p.heads as usize);
    for d in 0..half_dim {
        let (mut low, mut high) = (T::zero(), T::zero());
        for h in 0..heads {
            let k = (t * heads + h) * (2 * width + p.value as usize) + width + plain + d;
            low += dqkv[k];
            high += dqkv[k + half_dim];
        }
        let (sin, cos) = angle::<T>(t, d, p).sin_cos();
        dkey[d] = low * cos + high * sin;
        dkey[d + half_dim] = high * cos - low * sin;
    }
}
