//! Row-wise Adagrad on the rows of one table that were looked up: with `g` the sum of `dout` over the lookups of a row,
//! `state += mean of g^2`, `weight -= rate * g / (sqrt(state) + eps)` (Duchi et al. 2011; rows as one, as FBGEMM has it, Khudia
//! et al. 2021).
//!
//! An invocation of the shader has a row of the table: it goes through all lookups in order and remembers those of its row,
//! so nothing races.

use std::collections::BTreeMap;

use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`embedding_bag_update`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct EmbeddingBagUpdateParams {
    /// Samples.
    pub batch: u32,
    /// Width of a vector.
    pub cols: u32,
    /// Rows of this table that a sample looks up.
    pub lookups: u32,
    /// Rows of all tables that a sample looks up.
    pub of_sample: u32,
    /// The first of them of this table.
    pub id_offset: u32,
    /// The first row of this table among all.
    pub row_offset: u32,
    /// Number of the table.
    pub table: u32,
    /// Tables.
    pub tables: u32,
    /// Rows of the table.
    pub rows: u32,
    /// Learning rate.
    pub rate: f32,
    /// Factor that takes the loss scale off the gradient.
    pub unscale: f32,
    /// Fills up 16 bytes.
    pub pad: [u32; 1],
}

impl KernelParams for EmbeddingBagUpdateParams {
    const KERNEL: Kernel = Kernel::EmbeddingBagUpdate;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.rows)
    }
}

/// Keeps a row that has moved little from moving far.
const EPS: f64 = 1e-8;

impl EmbeddingBagUpdateParams {
    /// The word with the factor that takes the loss scale off.
    pub(in crate::exec) const UNSCALE: usize = 10;
}

/// Updates `weight` and `state`.
pub fn embedding_bag_update<T: Real>(
    ids: &[u32],
    dout: &[T],
    weight: &mut [T],
    state: &mut [T],
    p: &EmbeddingBagUpdateParams,
) {
    let cols = p.cols as usize;
    let mut gradients: BTreeMap<u32, Vec<T>> = BTreeMap::new();
    for s in 0..p.batch as usize {
        let vector = &dout[(s * p.tables as usize + p.table as usize) * cols..][..cols];
        for &id in &ids[s * p.of_sample as usize + p.id_offset as usize..][..p.lookups as usize] {
            let sums = gradients.entry(id).or_insert_with(|| vec![T::zero(); cols]);
            sums.iter_mut().zip(vector).for_each(|(sum, d)| *sum += *d);
        }
    }
    for (id, sums) in gradients.into_iter().filter(|(id, _)| *id < p.rows) {
        let row = (p.row_offset + id) as usize;
        let gradient = |sum: T| sum * real(p.unscale);
        let squares = sums.iter().fold(T::zero(), |total, &sum| total + gradient(sum) * gradient(sum));
        // What overflowed updates nothing.
        if squares.is_nan() || squares >= real(3.0e38) {
            continue;
        }
        state[row] += squares / real(p.cols);
        let step = real::<T>(p.rate) / (state[row].sqrt() + real(EPS));
        for (w, sum) in weight[row * cols..].iter_mut().zip(sums) {
            *w -= step * gradient(sum);
        }
    }
}
