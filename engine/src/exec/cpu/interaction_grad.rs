//! Gradient of `interaction` for the dense vector and those of the tables.

use super::Real;
use super::interaction::InteractionParams;
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`interaction_grad`], those of the interaction.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct InteractionGradParams(pub InteractionParams);

impl KernelParams for InteractionGradParams {
    const KERNEL: Kernel = Kernel::InteractionGrad;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.0.batch * (self.0.tables + 1) * self.0.cols)
    }
}

/// Writes `ddense` and `dvectors`.
pub fn interaction_grad<T: Real>(
    dense: &[T],
    vectors: &[T],
    dout: &[T],
    ddense: &mut [T],
    dvectors: &mut [T],
    p: &InteractionGradParams,
) {
    let p = &p.0;
    let (cols, tables, width) = (p.cols as usize, p.tables as usize, p.width() as usize);
    for i in 0..p.batch as usize * (tables + 1) * cols {
        let (s, v, j) = (i / ((tables + 1) * cols), i / cols % (tables + 1), i % cols);
        let row = &dout[s * width..][..width];
        let sum = if p.products == 0 {
            row[v * cols + j]
        } else {
            let first = if v == 0 { row[j] } else { T::zero() };
            let pair = |w: usize| cols + v.max(w) * (v.max(w) - 1) / 2 + v.min(w);
            let others = (0..=tables).filter(|&w| w != v);
            others.fold(first, |sum, w| sum + row[pair(w)] * p.vector(dense, vectors, s, w)[j])
        };
        match v.checked_sub(1) {
            None => ddense[s * cols + j] = sum,
            Some(table) => dvectors[p.row_of(s, table) * cols + j] = sum,
        }
    }
}
