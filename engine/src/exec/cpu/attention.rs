//! Attention: `out = softmax(q k^T * scale) v` for each query head, over the keys that the query's token sees.
//!
//! `qkv` has a row for each token of this rank; its groups hold their query heads, a key head, a value head. `kv` is the
//! same, or has the keys and values of a part of the sequence alone (`APART`), for a head each behind each other.
//! `out` is `[T, heads * value_dim]`, `lse[T, heads]` keeps the logarithm of the softmax' denominator for the gradients,
//! with `T = batch * queries` and `heads = groups * q_per_group`.
//!
//! Query `i` of a sequence is its token `i * query_stride + query_first`. Ranks whose keys lie behind each other
//! (`gather`) have every `gather`-th token. With `CARRY` the keys come to those that `out` and `lse` have seen already
//! (Liu et al. 2023, "Ring Attention").
//!
//! The scores are never stored: the softmax is online (Milakov & Gimelshein 2018), sixteen keys at a time. An invocation of
//! the shader has eight queries of a head, which share what is read of the keys.

use std::ops::Range;

use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// A token sees none behind itself.
pub const CAUSAL: u32 = 1;
/// What is there already counts.
pub const CARRY: u32 = 2;
/// `kv` has no queries.
pub const APART: u32 = 4;

/// Parameters of [`attention`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct AttentionParams {
    /// Number of sequences.
    pub batch: u32,
    /// Tokens of a sequence that this rank has.
    pub queries: u32,
    /// Tokens of a sequence whose keys are bound.
    pub keys: u32,
    /// Groups of heads: one key and value head each.
    pub groups: u32,
    /// Query heads in a group.
    pub q_per_group: u32,
    /// Width of a query or key.
    pub head_dim: u32,
    /// Width of a value.
    pub value_dim: u32,
    /// Factor on the scores.
    pub scale: f32,
    /// Tokens from a query to the next.
    pub query_stride: u32,
    /// Token of the first query.
    pub query_first: u32,
    /// Token of the first key.
    pub key_first: u32,
    /// Ranks whose keys are bound, one behind the other.
    pub gather: u32,
    /// Tokens that a token sees, itself and those before; 0 for all.
    pub window: u32,
    /// [`CAUSAL`], [`CARRY`], [`APART`].
    pub flags: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 2],
}

impl KernelParams for AttentionParams {
    const KERNEL: Kernel = Kernel::Attention;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.batch * self.queries.div_ceil(QUERIES) * self.groups * self.q_per_group)
    }
}

/// Writes `out` and `lse`.
pub fn attention<T: Real>(qkv: &[T], kv: &[T], out: &mut [T], lse: &mut [T], p: &AttentionParams) {
    let heads = p.heads();
    let value_dim = p.value_dim as usize;
    for i in 0..p.rows() * heads {
        let out = &mut out[i * value_dim..][..value_dim];
        lse[i] = attend(qkv, kv, out, lse[i], i / heads, i % heads, p);
    }
}

/// Queries of an invocation of the shader.
const QUERIES: u32 = 8;

/// Keys that it meets at once.
const KEYS: usize = 16;

/// Keys, or queries, of an invocation of the shaders of the gradients.
pub(super) const OWN: u32 = 4;

/// Keys, or queries, that these handle at once.
pub(super) const BLOCK: usize = 8;
const LOWEST: f64 = -3.0e38;

/// Attends from query head `h` of row `t` to the keys that it sees; returns the logarithm of the denominator.
fn attend<T: Real>(qkv: &[T], kv: &[T], out: &mut [T], lse: T, t: usize, h: usize, p: &AttentionParams) -> T {
    let q = p.query(qkv, t, h);
    let carries = p.flags & CARRY != 0;
    let (mut m, mut sum) = if carries { (lse, T::one()) } else { (real::<T>(LOWEST), T::zero()) };
    if !carries {
        out.fill(T::zero());
    }
    let seen = p.keys_of(t);
    for j0 in seen.clone().step_by(KEYS) {
        // Lanes beyond the last key compute it again, with the lowest score.
        let rows = lanes::<KEYS>(j0, seen.end - 1).map(|j| p.key_row(t / p.queries as usize, j));
        let k = rows.map(|row| p.key(kv, row, h));
        let v = rows.map(|row| p.value(kv, row, h));
        let mut s = dots(q, k).map(|s| s * real(p.scale));
        for x in 0..KEYS {
            s[x] = if j0 + x < seen.end { s[x] } else { real(LOWEST) };
        }

        let larger = s.into_iter().fold(m, T::max);
        let correction = (m - larger).exp();
        let weights = s.map(|s| (s - larger).exp());
        for d in 0..out.len() {
            out[d] = out[d] * correction + weigh(weights, v, d);
        }
        sum = sum * correction + weights.into_iter().fold(T::zero(), T::add);
        m = larger;
    }
    for d in 0..out.len() {
        out[d] /= sum;
    }
    m + sum.ln()
}

/// `N` indices from `first`, none beyond `last`.
pub(super) fn lanes<const N: usize>(first: usize, last: usize) -> [usize; N] {
    std::array::from_fn(|x| (first + x).min(last))
}

/// The products of `a` with each of `b`.
pub(super) fn dots<T: Real, const N: usize>(a: &[T], b: [&[T]; N]) -> [T; N] {
    let mut sums = [T::zero(); N];
    for d in 0..a.len() {
        for x in 0..N {
            sums[x] += a[d] * b[x][d];
        }
    }
    sums
}

/// Component `d` of the sum of `vectors`, each times its weight.
pub(super) fn weigh<T: Real, const N: usize>(weights: [T; N], vectors: [&[T]; N], d: usize) -> T {
    let mut sum = T::zero();
    for x in 0..N {
        sum += weights[x] * vectors[x][d];
    }
    sum
}

impl AttentionParams {
    /// Causal attention within whole sequences: how many there are, their tokens, groups, query heads of a group, and the
    /// width of a head.
    pub fn causal([batch, tokens, groups, q_per_group, head_dim]: [u32; 5], scale: f32) -> Self {
        Self {
            batch,
            queries: tokens,
            keys: tokens,
            groups,
            q_per_group,
            head_dim,
            value_dim: head_dim,
            scale,
            query_stride: 1,
            gather: 1,
            flags: CAUSAL,
            ..Self::default()
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.batch as usize * self.queries as usize
    }

    pub(super) fn heads(&self) -> usize {
        self.groups as usize * self.q_per_group as usize
    }

    /// Tokens from a key to the next.
    fn key_stride(&self) -> usize {
        self.query_stride as usize / self.gather as usize
    }

    pub(super) fn query_token(&self, t: usize) -> usize {
        t % self.queries as usize * self.query_stride as usize + self.query_first as usize
    }

    pub(super) fn key_token(&self, j: usize) -> usize {
        j * self.key_stride() + self.key_first as usize
    }

    /// The keys of its sequence that row `t` sees.
    pub(super) fn keys_of(&self, t: usize) -> Range<usize> {
        let (token, all) = (self.query_token(t), self.keys as usize);
        let before = |token: usize| token.saturating_sub(self.key_first as usize).div_ceil(self.key_stride()).min(all);
        let end = if self.flags & CAUSAL == 0 { all } else { before(token + 1) };
        let first = if self.window == 0 { 0 } else { before((token + 1).saturating_sub(self.window as usize)) };
        first.min(end)..end
    }

    /// The queries of a sequence that see key `j`.
    pub(super) fn queries_of(&self, j: usize) -> Range<usize> {
        let (token, all) = (self.key_token(j), self.queries as usize);
        let before = |token: usize| {
            token.saturating_sub(self.query_first as usize).div_ceil(self.query_stride as usize).min(all)
        };
        let first = if self.flags & CAUSAL == 0 { 0 } else { before(token) };
        let end = if self.window == 0 { all } else { before(token + self.window as usize) };
        first..end.max(first)
    }

    /// The row of key `j` of a sequence.
    pub(super) fn key_row(&self, sequence: usize, j: usize) -> usize {
        let (gather, of_rank) = (self.gather as usize, self.keys as usize / self.gather as usize);
        j % gather * self.batch as usize * of_rank + sequence * of_rank + j / gather
    }

    /// The group of query head `h`.
    fn group(&self, h: usize) -> usize {
        h / self.q_per_group as usize
    }

    pub(super) fn query<'a, T>(&self, qkv: &'a [T], t: usize, h: usize) -> &'a [T] {
        &qkv[self.query_at(t, h)..][..self.head_dim as usize]
    }

    pub(super) fn key<'a, T>(&self, kv: &'a [T], row: usize, h: usize) -> &'a [T] {
        &kv[self.key_at(row, self.group(h))..][..self.head_dim as usize]
    }

    pub(super) fn value<'a, T>(&self, kv: &'a [T], row: usize, h: usize) -> &'a [T] {
        &kv[self.key_at(row, self.group(h)) + self.head_dim as usize..][..self.value_dim as usize]
    }

    pub(super) fn query_at(&self, t: usize, h: usize) -> usize {
        let (heads, width) = (self.q_per_group as usize, self.head_dim as usize);
        let group = (heads + 1) * width + self.value_dim as usize;
        (t * self.groups as usize + self.group(h)) * group + h % heads * width
    }

    /// Where the key of a group begins in `kv`; its value follows.
    pub(super) fn key_at(&self, row: usize, group: usize) -> usize {
        let queries = if self.flags & APART == 0 { self.q_per_group as usize * self.head_dim as usize } else { 0 };
        let width = queries + self.head_dim as usize + self.value_dim as usize;
        (row * self.groups as usize + group) * width + queries
    }
}
