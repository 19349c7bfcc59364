// A weighted sum, in place: `dst = from * src + keep * dst`.
//
// CPU twin: engine/src/exec/cpu/blend.rs

struct Params {
    n: u32,
    from_: f32,
    keep: f32,
    src_offset: u32,
    dst_offset: u32,
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
    let before = dst[params.dst_offset + i];
    dst[params.dst_offset + i] = params.from_ * src[params.src_offset + i] + params.keep * before;
}
