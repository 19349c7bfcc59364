//! Gradient of `pool`: of a mean every pixel of the window gets its share, of the largest the first pixel that is it.
//!
//! The shader gathers: each pixel of `dx` looks into the windows that it is in, so nothing races.
//! The twin has one thread and scatters.

use super::pool::PoolParams;
use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// Parameters of [`pool_grad`], those of the pooling.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct PoolGradParams(pub PoolParams);

impl KernelParams for PoolGradParams {
    const KERNEL: Kernel = Kernel::PoolGrad;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.0.batch * self.0.side * self.0.side * self.0.cols)
    }
}

/// Writes `dx`.
pub fn pool_grad<T: Real>(x: &[T], y: &[T], dy: &[T], dx: &mut [T], p: &PoolGradParams) {
    let p = &p.0;
    let cols = p.cols as usize;
    let n = real::<T>(p.kernel * p.kernel);
    dx[..(p.batch * p.side * p.side) as usize * cols].fill(T::zero());
    for i in 0..(p.batch * p.behind * p.behind) as usize * cols {
        let (q, c) = (i / cols, i % cols);
        if p.mean == 1 {
            p.window(q).for_each(|pixel| dx[pixel * cols + c] += dy[i] / n);
        } else if let Some(pixel) = p.window(q).find(|pixel| x[pixel * cols + c] == y[i]) {
            dx[pixel * cols + c] += dy[i];
        }
    }
}
