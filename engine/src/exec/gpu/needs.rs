//! What kernels need of an adapter, whatever a step does; more than WebGPU's defaults nothing asks for.

use crate::exec::kernel::{Kernel, MAX_WORKGROUPS};
use crate::graph::ALLOCATION_ALIGNMENT;

/// Invocations of the largest workgroup.
const INVOCATIONS: u32 = 256;

/// Workgroup memory of the ways that every device must have, in bytes; `Dispatch::allows` knows which need more.
const WORKGROUP_MEMORY: u32 = 16 << 10;

/// A limit of an adapter that is too low.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lack {
    /// The limit, as WebGPU calls it.
    pub limit: &'static str,
    /// What kernels need.
    pub needed: u64,
    /// What the adapter allows.
    pub allowed: u64,
}

/// The first limit that is too low for the kernels.
pub fn lack(limits: &wgpu::Limits) -> Option<Lack> {
    let buffers = Kernel::ALL.iter().map(|kernel| kernel.bindings().len()).max().unwrap_or(0);
    let least = [
        ("maxStorageBuffersPerShaderStage", buffers as u64, limits.max_storage_buffers_per_shader_stage),
        ("maxComputeInvocationsPerWorkgroup", INVOCATIONS.into(), limits.max_compute_invocations_per_workgroup),
        ("maxComputeWorkgroupSizeX", INVOCATIONS.into(), limits.max_compute_workgroup_size_x),
        ("maxComputeWorkgroupStorageSize", WORKGROUP_MEMORY.into(), limits.max_compute_workgroup_storage_size),
        ("maxComputeWorkgroupsPerDimension", MAX_WORKGROUPS.into(), limits.max_compute_workgroups_per_dimension),
    ];
    let low = |(limit, needed, allowed): (&'static str, u64, u32)| {
        let allowed = u64::from(allowed);
        (allowed < needed).then_some(Lack { limit, needed, allowed })
    };
    let aligned = u64::from(limits.min_storage_buffer_offset_alignment);
    let apart = (aligned > ALLOCATION_ALIGNMENT).then_some(Lack {
        limit: "minStorageBufferOffsetAlignment",
        needed: ALLOCATION_ALIGNMENT,
        allowed: aligned,
    });
    least.into_iter().find_map(low).or(apart)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_webgpu_guarantees_is_enough() {
        assert_eq!(lack(&wgpu::Limits::default()), None);
    }

    #[test]
    fn a_limit_that_is_too_low_is_named_with_both_figures() {
        let few = wgpu::Limits { max_storage_buffers_per_shader_stage: 4, ..wgpu::Limits::default() };
        let found = lack(&few).map(|lack| (lack.limit, lack.allowed));
        assert_eq!(found, Some(("maxStorageBuffersPerShaderStage", 4)));
        let small = wgpu::Limits { max_compute_invocations_per_workgroup: 128, ..wgpu::Limits::default() };
        let found = lack(&small).map(|lack| (lack.limit, lack.needed, lack.allowed));
        assert_eq!(found, Some(("maxComputeInvocationsPerWorkgroup", 256, 128)));
        let apart = wgpu::Limits { min_storage_buffer_offset_alignment: 512, ..wgpu::Limits::default() };
        assert_eq!(lack(&apart).map(|lack| lack.limit), Some("minStorageBufferOffsetAlignment"));
    }
}
