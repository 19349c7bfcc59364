//! Embedding bag of one table: `out[s * tables + table, :]` is the sum of the rows `row_offset + id` of `weight` over the ids that
//! sample `s` has of this table, `ids[s * of_sample + id_offset ..][.. lookups]` (Naumov et al. 2019).
//!
//! Tables lie below each other in `weight`; `out` has a row for every sample and table.

use super::Real;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`embedding_bag`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct EmbeddingBagParams {
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
}

impl KernelParams for EmbeddingBagParams {
    const KERNEL: Kernel = Kernel::EmbeddingBag;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.batch * self.cols)
    }
}

/// Writes the rows of `out` that belong to the table.
pub fn embedding_bag<T: Real>(ids: &[u32], weight: &[T], out: &mut [T], p: &EmbeddingBagParams) {
    let cols = p.cols as usize;
    for i in 0..p.batch as usize * cols {
        let (s, j) = (i / cols, i % cols);
        let mut sum = T::zero();
        for l in 0..p.lookups as usize {
            let id = ids[s * p.of_sample as usize + p.id_offset as usize + l] as usize;
            sum += weight[(p.row_offset as usize + id) * cols + j];
        }
        out[(s * p.tables as usize + p.table as usize) * cols + j] = sum;
    }
}
