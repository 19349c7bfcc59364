// Learned positions: `out[t, :] = x[t, :] + table[((row_offset + t) mod seq * stride + first) / group, :]`.
//
// `x` and `out` are `[T, cols]`, `table` is `[seq * stride / group, cols]`.
//
// CPU twin: engine/src/exec/cpu/position.rs

struct Params {
    rows: u32,
    cols: u32,
    seq: u32,
    row_offset: u32,
    stride: u32,
    first: u32,
    group: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> table: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.rows * params.cols {
        return;
    }
    let position = (params.row_offset + i / params.cols) % params.seq * params.stride + params.first;
    out[i] = x[i] + table[position / params.group * params.cols + i % params.cols];
}
