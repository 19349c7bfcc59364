// Copy of a block: `dst[dst_offset + r * dst_stride + c] = src[src_offset + r * src_stride + c]`, as a rank sends it to
// another.
//
// CPU twin: engine/src/exec/cpu/copy.rs

struct Params {
    rows: u32,
    cols: u32,
    src_offset: u32,
    src_stride: u32,
    dst_offset: u32,
    dst_stride: u32,
}

@group(0) @binding(0) var<storage, read> src: array<f32>;
@group(0) @binding(1) var<storage, read_write> dst: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.rows * params.cols {
        return;
    }
    let r = i / params.cols;
    let c = i % params.cols;
    dst[params.dst_offset + r * params.dst_stride + c] = src[params.src_offset + r * params.src_stride + c];
}
