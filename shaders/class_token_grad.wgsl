// Gradient of `class_token` for the other rows: `dx[r, :] = dy[g + g / (seq - 1) + 1, :]` with `g = first + r`.
//
// `dx` is `[rows, cols]`, a part of the rows without tokens; `dy` has `seq` rows for each sequence.
//
// CPU twin: engine/src/exec/cpu/class_token_grad.rs

struct Params {
    rows: u32,
    cols: u32,
    seq: u32,
    first: u32,
}

@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read_write> dx: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.rows * params.cols {
        return;
    }
    let g = params.first + i / params.cols;
    dx[i] = dy[(g + g / (params.seq - 1u) + 1u) * params.cols + i % params.cols];
}
