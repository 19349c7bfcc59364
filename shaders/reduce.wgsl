// The arithmetic of a collective: adds a part of what was received to a part of a buffer, or takes the larger.
//
// CPU twin: engine/src/exec/cpu/reduce.rs

struct Params {
    n: u32,
    op: u32,
    dst_offset: u32,
    src_offset: u32,
}

@group(0) @binding(0) var<storage, read> src: array<f32>;
@group(0) @binding(1) var<storage, read_write> dst: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.n {
        return;
    }
    let j = params.dst_offset + i;
    let x = src[params.src_offset + i];
    if params.op == 0u {
        dst[j] += x;
    } else {
        dst[j] = max(dst[j], x);
    }
}
