// Copies tokens to the rows of their experts: `rows[assignment[t, c], :] = x[t, :] * (weighted ? weights[t, c] : 1)`. What
// was dropped goes nowhere; rows that no token has are left alone.
//
// `x` is `[tokens, cols]`, `weights` and `assignment` are `[tokens, per_token]`. Without weights any buffer may be bound in
// their place.
//
// CPU twin: engine/src/exec/cpu/dispatch.rs

struct Params {
    tokens: u32,
    cols: u32,
    per_token: u32,
    weighted: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read> assignment: array<u32>;
@group(0) @binding(3) var<storage, read_write> rows: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

const DROPPED: u32 = 0x80000000u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.tokens * params.per_token * params.cols {
        return;
    }
    let choice = i / params.cols;
    let col = i % params.cols;
    let row = assignment[choice];
    if (row & DROPPED) != 0u {
        return;
    }
    var value = x[choice / params.per_token * params.cols + col];
    if params.weighted == 1u {
        value *= weights[choice];
    }
    rows[row * params.cols + col] = value;
}
