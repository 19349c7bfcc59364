// Reads a buffer and keeps little of it, to find the bandwidth of reading: `out[i] = sum_r x[r * lanes + i]`.
//
// `x` is `[rows * lanes]`, `out` is `[lanes]`.
//
// CPU twin: engine/src/exec/cpu/read.rs

struct Params {
    rows: u32,
    lanes: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.lanes {
        return;
    }
    var sum = 0.0;
    for (var r = 0u; r < params.rows; r++) {
        sum += x[r * params.lanes + i];
    }
    out[i] = sum;
}
