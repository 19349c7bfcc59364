//! Causal attention: `out = softmax(q k^T * scale) v` for each query head, over the keys up to the query's own token.
//!
//! `qkv` is `[T, groups * (q_per_group + 2) * head_dim]`: each group holds its query heads, a key head, a value head.
//! `out` is `[T, heads * head_dim]`, `lse[T, heads]` keeps the logarithm of the softmax' denominator for the gradients,
//! with `T = batch * seq` and `heads = groups * q_per_group`.
//!
//! The scores are never stored: the softmax is online (Milakov & Gimelshein 2018), four keys at a time.

use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`attention`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct AttentionParams {
    /// Number of sequences.
    pub batch: u32,
    /// Tokens of a sequence.
    pub seq: u32,
    /// Groups of heads: one key and value head each.
    pub groups: u32,
    /// Query heads in a group.
    pub q_per_group: u32,
    /// Width of a head.
    pub head_dim: u32,
    /// Factor on the scores.
    pub scale: f32,
    /// Fills up 16 bytes.
    pub pad: [u32; 2],
}

impl KernelParams for AttentionParams {
    const KERNEL: Kernel = Kernel::Attention;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.batch * self.seq * self.groups * self.q_per_group)
    }
}

/// Writes `out` and `lse`.
pub fn attention<T: Real>(qkv: &[T], out: &mut [T], lse: &mut [T], p: &AttentionParams) {
    let layout = Layout::new(p.groups, p.q_per_group, p.head_dim);
    let heads = p.groups as usize * p.q_per_group as usize;
    for i in 0..p.batch as usize * p.seq as usize * heads {
        let (t, h) = (i / heads, i % heads);
        let first = t - t % p.seq as usize;
        let out = &mut out[i * layout.head_dim..][..layout.head_dim];
        lse[i] = attend(qkv, out, first, t, h, real(p.scale), &layout);
    }
}

/// Keys, or queries, that are handled at once.
pub(super) const BLOCK: usize = 4;
const LOWEST: f64 = -3.0e38;

/// Attends from query head `h` of token `t` to the tokens from `first`; returns the logarithm of the denominator.
fn attend<T: Real>(qkv: &[T], out: &mut [T], first: usize, t: usize, h: usize, scale: T, layout: &Layout) -> T {
    let q = layout.query(qkv, t, h);
    out.fill(T::zero());
    let mut m = real::<T>(LOWEST);
    let mut sum = T::zero();
    for j0 in (first..=t).step_by(BLOCK) {
        // Lanes beyond the query compute its own key again, with the lowest score.
        let j = lanes(j0, t);
        let k = j.map(|j| layout.key(qkv, j, layout.group(h)));
        let v = j.map(|j| layout.value(qkv, j, layout.group(h)));
        let mut s = dots(q, k).map(|s| s * scale);
        for x in 0..BLOCK {
            s[x] = if j0 + x <= t { s[x] } else { real(LOWEST) };
        }

        let larger = s.into_iter().fold(m, T::max);
        let correction = (m - larger).exp();
        let p = s.map(|s| (s - larger).exp());
        for d in 0..out.len() {
            out[d] = out[d] * correction + weigh(p, v, d);
        }
        sum = sum * correction + p.into_iter().fold(T::zero(), T::add);
        m = larger;
    }
    for d in 0..out.len() {
        out[d] /= sum;
    }
    m + sum.ln()
}

/// `BLOCK` indices from `first`, none beyond `last`.
pub(super) fn lanes(first: usize, last: usize) -> [usize; BLOCK] {
    std::array::from_fn(|x| (first + x).min(last))
}

/// The products of `a` with each of `b`.
pub(super) fn dots<T: Real>(a: &[T], b: [&[T]; BLOCK]) -> [T; BLOCK] {
    let mut sums = [T::zero(); BLOCK];
    for d in 0..a.len() {
        for x in 0..BLOCK {
            sums[x] += a[d] * b[x][d];
        }
    }
    sums
}

/// Component `d` of the sum of `vectors`, each times its weight.
pub(super) fn weigh<T: Real>(weights: [T; BLOCK], vectors: [&[T]; BLOCK], d: usize) -> T {
    let mut sum = T::zero();
    for x in 0..BLOCK {
        sum += weights[x] * vectors[x][d];
    }
    sum
}

/// Where the heads lie in the fused rows: each group holds its query heads, a key head, a value head.
#[derive(Debug)]
pub(super) struct Layout {
    groups: usize,
    q_per_group: usize,
    pub(super) head_dim: usize,
}

impl Layout {
    pub(super) fn new(groups: u32, q_per_group: u32, head_dim: u32) -> Self {
        Self { groups: groups as usize, q_per_group: q_per_group as usize, head_dim: head_dim as usize }
    }

    /// The group of query head `h`.
    pub(super) fn group(&self, h: usize) -> usize {
        h / self.q_per_group
    }

    pub(super) fn query<'a, T>(&self, qkv: &'a [T], t: usize, h: usize) -> &'a [T] {
        &qkv[self.query_at(t, h)..][..self.head_dim]
    }

    pub(super) fn key<'a, T>(&self, qkv: &'a [T], t: usize, group: usize) -> &'a [T] {
        &qkv[self.key_at(t, group)..][..self.head_dim]
    }

    pub(super) fn value<'a, T>(&self, qkv: &'a [T], t: usize, group: usize) -> &'a [T] {
        &qkv[self.value_at(t, group)..][..self.head_dim]
    }

    pub(super) fn query_at(&self, t: usize, h: usize) -> usize {
        self.head_at(t, self.group(h), h % self.q_per_group)
    }

    pub(super) fn key_at(&self, t: usize, group: usize) -> usize {
        self.head_at(t, group, self.q_per_group)
    }

    pub(super) fn value_at(&self, t: usize, group: usize) -> usize {
        self.head_at(t, group, self.q_per_group + 1)
    }

    fn head_at(&self, t: usize, group: usize, head: usize) -> usize {
        ((t * self.groups + group) * (self.q_per_group + 2) + head) * self.head_dim
    }
}
