// A row of its own before those of every sequence: `y[t, :] = g mod seq = 0 ? token : x[g - g / seq - 1, :]` with `g = first + t`.
//
// `y` is `[rows, cols]`, a part of all rows; `x` has `seq - 1` rows for each sequence.
//
// CPU twin: engine/src/exec/cpu/class_token.rs

struct Params {
    rows: u32,
    cols: u32,
    seq: u32,
    first: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> token: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.rows * params.cols {
        return;
    }
    let g = params.first + i / params.cols;
    let j = i % params.cols;
    if g % params.seq == 0u {
        y[i] = token[j];
    } else {
        y[i] = x[(g - g / params.seq - 1u) * params.cols + j];
    }
}
