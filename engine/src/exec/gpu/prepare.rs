//! What a recording needs before it can be replayed: pipelines, parameters, bind groups.

use std::collections::BTreeMap;

use super::{OpenDevice, Pipelines, Way, way};
use crate::exec::{Dispatch, Recording, Slice};

/// Offsets of uniform bindings are multiples of this, on every device.
const UNIFORM_STRIDE: u64 = 256;

/// The parameters and bind groups of a recording.
#[derive(Debug)]
pub struct Prepared {
    /// One for each dispatch, with its pipeline.
    pub calls: Vec<(wgpu::ComputePipeline, wgpu::BindGroup)>,
}

impl Prepared {
    /// Writes all parameters into one buffer and binds the buffers of every dispatch. Calls that are alike, as those of
    /// micro-batches often are, share what they bind: on the way to a command buffer the host touches every bind group, and
    /// most of what that costs is memory that is in no cache.
    pub fn new(device: &OpenDevice, pipelines: &Pipelines, buffers: &[wgpu::Buffer], recording: &Recording) -> Self {
        let (distinct, numbers) = distinct(&recording.dispatches);
        let uniforms = uniforms(device, &distinct);
        let bind = |(index, dispatch): (u64, &&Dispatch)| {
            let pipeline = pipelines.get(&way(dispatch))?;
            let layout = pipeline.get_bind_group_layout(0);
            let storage = (0..).zip(&dispatch.bindings).map(|(binding, slice)| entry(binding, buffers, slice));
            let uniform = wgpu::BindGroupEntry {
                binding: u32::try_from(dispatch.bindings.len()).unwrap_or(u32::MAX),
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &uniforms,
                    offset: index * UNIFORM_STRIDE,
                    size: std::num::NonZeroU64::new(dispatch.params.len() as u64 * 4),
                }),
            };
            let entries: Vec<_> = storage.chain([uniform]).collect();
            let label = Some(dispatch.kernel.name());
            let descriptor = wgpu::BindGroupDescriptor { label, layout: &layout, entries: &entries };
            Some((pipeline.clone(), device.device.create_bind_group(&descriptor)))
        };
        let bound: Vec<_> = (0..).zip(&distinct).filter_map(bind).collect();
        Self { calls: numbers.into_iter().filter_map(|number| bound.get(number).cloned()).collect() }
    }
}

/// The calls that differ in more than their place and grid, and which of them each call is like.
fn distinct<'a>(dispatches: &'a [Dispatch]) -> (Vec<&'a Dispatch>, Vec<usize>) {
    let mut known = BTreeMap::new();
    let mut distinct = Vec::new();
    let mut number = |dispatch: &'a Dispatch| {
        let Dispatch { kernel, family, bindings, params, grid: _ } = dispatch;
        *known.entry((*kernel, *family, bindings, params)).or_insert_with(|| {
            distinct.push(dispatch);
            distinct.len() - 1
        })
    };
    let numbers = dispatches.iter().map(&mut number).collect();
    (distinct, numbers)
}

fn entry<'a>(binding: u32, buffers: &'a [wgpu::Buffer], slice: &Slice) -> wgpu::BindGroupEntry<'a> {
    wgpu::BindGroupEntry {
        binding,
        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &buffers[slice.buffer.0 as usize],
            offset: slice.offset,
            size: std::num::NonZeroU64::new(slice.size.next_multiple_of(4)),
        }),
    }
}

fn uniforms(device: &OpenDevice, dispatches: &[&Dispatch]) -> wgpu::Buffer {
    let stride = usize::try_from(UNIFORM_STRIDE / 4).unwrap_or(64);
    let mut words = vec![0_u32; stride * dispatches.len().max(1)];
    for (block, dispatch) in words.chunks_mut(stride).zip(dispatches) {
        block[..dispatch.params.len()].copy_from_slice(&dispatch.params);
    }
    let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
    let buffer = device.buffer("parameters", words.len() as u64 * 4, usage);
    device.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(&words));
    buffer
}

/// Compiles a kernel in one of its ways.
pub fn pipeline(device: &wgpu::Device, (kernel, family, formats, sums): &Way) -> wgpu::ComputePipeline {
    let label = Some(kernel.name_of(*family));
    let source = wgpu::ShaderSource::Wgsl(kernel.source_in(*family, formats, *sums));
    let descriptor = wgpu::ShaderModuleDescriptor { label, source };
    let module = if kernel.stays_inside(*family) {
        trusted(device, descriptor)
    } else {
        device.create_shader_module(descriptor)
    };
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    })
}

/// A module whose accesses nobody checks: a seventh of the time of a product.
#[expect(unsafe_code, reason = "wgpu cannot know that a shader keeps to its buffers")]
fn trusted(device: &wgpu::Device, descriptor: wgpu::ShaderModuleDescriptor<'_>) -> wgpu::ShaderModule {
    // SAFETY: what those kernels read, rows, columns, keys and elements of heads, is clamped to what there is, they write only
    // what is theirs, their loops end, and tests hold them to that between guards (`Kernel::stays_inside`, `tests/kernels`).
    unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}
