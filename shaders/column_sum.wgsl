// Sum of each column: `out[j] += sum_t x[t, j]`, the gradient of a bias. Rows begin `stride` elements apart.
//
// The shader has one invocation per column; the twin goes row by row, which is kinder to its cache and adds in the same
// order.
//
// CPU twin: engine/src/exec/cpu/column_sum.rs

struct Params {
    rows: u32,
    cols: u32,
    stride: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let j = gid.x + gid.y * workgroups.x * 64u;
    if j >= params.cols {
        return;
    }
    var sum = out[j];
    for (var t = 0u; t < params.rows; t++) {
        sum += x[t * params.stride + j];
    }
    out[j] = sum;
}
