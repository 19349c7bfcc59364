//! Gives every choice of an expert its row: `assignment[i] = expert * capacity + number of earlier choices of it`. What is
//! beyond the capacity is dropped (Fedus et al. 2022, "Switch Transformers", section 2.2), and keeps its expert behind
//! `DROPPED`.
//!
//! `choices` and `assignment` are `[tokens, per_token]`, in the order in which tokens come first.

use crate::exec::kernel::{Kernel, KernelParams, elementwise_grid};

/// The mark of a choice that found no place; the expert stands behind it.
pub const DROPPED: u32 = 1 << 31;

/// Parameters of [`assign`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct AssignParams {
    /// Choices of all tokens.
    pub n: u32,
    /// Experts.
    pub experts: u32,
    /// Rows of an expert.
    pub capacity: u32,
    /// Fills up 16 bytes.
    pub pad: [u32; 1],
}

impl KernelParams for AssignParams {
    const KERNEL: Kernel = Kernel::Assign;

    fn grid(&self) -> [u32; 3] {
        elementwise_grid(self.experts)
    }
}

/// Writes `assignment`.
pub fn assign(choices: &[u32], assignment: &mut [u32], p: &AssignParams) {
    let mut taken = vec![0; p.experts as usize];
    for i in 0..p.n as usize {
        let expert = choices[i];
        let taken = &mut taken[expert as usize];
        assignment[i] = if *taken < p.capacity { expert * p.capacity + *taken } else { DROPPED | expert };
        *taken += 1;
    }
}
