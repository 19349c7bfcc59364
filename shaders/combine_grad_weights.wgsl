// Gradient of `combine` for the weights: `dweights[t, c] = rows[assignment[t, c], :] . dy[t, :]`, 0 for what was dropped.
//
// `dy` is `[tokens, cols]`, `assignment` and `dweights` are `[tokens, per_token]`.
//
// CPU twin: engine/src/exec/cpu/combine_grad_weights.rs

struct Params {
    tokens: u32,
    cols: u32,
    per_token: u32,
}

@group(0) @binding(0) var<storage, read> rows: array<f32>;
@group(0) @binding(1) var<storage, read> assignment: array<u32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dweights: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

const DROPPED: u32 = 0x80000000u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let choice = gid.x + gid.y * workgroups.x * 64u;
    if choice >= params.tokens * params.per_token {
        return;
    }
    let row = assignment[choice];
    var sum = 0.0;
    if (row & DROPPED) == 0u {
        for (var col = 0u; col < params.cols; col++) {
            sum += rows[row * params.cols + col] * dy[choice / params.per_token * params.cols + col];
        }
    }
    dweights[choice] = sum;
}
