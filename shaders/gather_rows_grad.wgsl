// Gradient of `gather_rows`: `dx[t, :] = sum of dy[r, :]` over the rows `r` of its sequence with
// `positions[r] = (first + t) mod seq`.
//
// `dx` is `[rows, cols]`, a part of all rows. Rows that were not picked get zero.
//
// CPU twin: engine/src/exec/cpu/gather_rows_grad.rs

struct Params {
    rows: u32,
    cols: u32,
    per: u32,
    seq: u32,
    first: u32,
}

@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read> positions: array<u32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.rows * params.cols {
        return;
    }
    let g = params.first + i / params.cols;
    let begin = g / params.seq * params.per;
    var sum = 0.0;
    for (var r = begin; r < begin + params.per; r++) {
        if positions[r] == g % params.seq {
            sum += dy[r * params.cols + i % params.cols];
        }
    }
    dx[i] = sum;
}
