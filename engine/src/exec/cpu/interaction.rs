//! How the vectors of a sample meet: beside each other, or the dense one and all dot products of two, `(v, w)` with `v > w` in the
//! order of `v` and then of `w` (Naumov et al. 2019, section 2.1.3).
//!
//! `dense` has a row for each sample, `vectors` one for each sample and table, by the `ranks` that have
//! the tables.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`interaction`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct InteractionParams {
    /// Samples.
    pub batch: u32,
    /// Width of a vector.
    pub cols: u32,
    /// Tables, each with a vector of a sample.
    pub tables: u32,
    /// 1 for the dense vector and all dot products of two vectors, 0 for all vectors beside each other.
    pub products: u32,
    /// Ranks that have as many tables each.
    pub ranks: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 3],
}

impl KernelParams for InteractionParams {
    const KERNEL: Kernel = Kernel::Interaction;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.batch * self.width())
    }
}

impl InteractionParams {
    /// Columns of `out`.
    pub(super) fn width(&self) -> u32 {
        let vectors = self.tables + 1;
        if self.products == 1 { self.cols + vectors * self.tables / 2 } else { vectors * self.cols }
    }

    /// A vector of a sample: first the dense one, then those of the tables.
    pub(super) fn vector<'a, T>(&self, dense: &'a [T], vectors: &'a [T], s: usize, v: usize) -> &'a [T] {
        let cols = self.cols as usize;
        match v.checked_sub(1) {
            None => &dense[s * cols..][..cols],
            Some(table) => &vectors[self.row_of(s, table) * cols..][..cols],
        }
    }

    /// The row of a sample's vector of a table: by the rank that has the table, then by sample.
    pub(super) fn row_of(&self, s: usize, table: usize) -> usize {
        let own = (self.tables / self.ranks) as usize;
        (table / own * self.batch as usize + s) * own + table % own
    }
}

/// Writes `out`.
pub fn interaction<T: Real>(dense: &[T], vectors: &[T], out: &mut [T], p: &InteractionParams) {
    let (cols, width) = (p.cols as usize, p.width() as usize);
    for s in 0..p.batch as usize {
        let row = &mut out[s * width..][..width];
        let vector = |v: usize| p.vector(dense, vectors, s, v);
        if p.products == 0 {
            row.chunks_mut(cols).enumerate().for_each(|(v, to)| to.copy_from_slice(vector(v)));
            continue;
        }
        row[..cols].copy_from_slice(vector(0));
        let mut at = cols;
        for v in 1..=p.tables as usize {
            for w in 0..v {
                row[at] = vector(v).iter().zip(vector(w)).fold(T::zero(), |sum, (a, b)| sum + *a * *b);
                at += 1;
            }
        }
    }
}
