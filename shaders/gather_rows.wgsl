// Some rows of every sequence: `y[r, :] = x[g / per * seq + positions[g], :]` with `g = first + r`.
//
// `y` is `[rows, cols]`, a part of all rows that are picked; `x` has `seq` rows for each sequence, of which `per` are picked by
// their place in it.
//
// CPU twin: engine/src/exec/cpu/gather_rows.rs

struct Params {
    rows: u32,
    cols: u32,
    per: u32,
    seq: u32,
    first: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> positions: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.rows * params.cols {
        return;
    }
    let g = params.first + i / params.cols;
    let row = g / params.per * params.seq + positions[g];
    y[i] = x[row * params.cols + i % params.cols];
}
