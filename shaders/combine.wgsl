// Brings rows of experts back to their tokens: `y[t, :] = sum_c rows[assignment[t, c], :] * (weighted ? weights[t, c] : 1)`.
// What was dropped adds nothing.
//
// `y` is `[tokens, cols]`, `weights` and `assignment` are `[tokens, per_token]`. Without weights any buffer may be bound in
// their place.
//
// CPU twin: engine/src/exec/cpu/combine.rs

struct Params {
    tokens: u32,
    cols: u32,
    per_token: u32,
    weighted: u32,
}

@group(0) @binding(0) var<storage, read> rows: array<f32>;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read> assignment: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

const DROPPED: u32 = 0x80000000u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.tokens * params.cols {
        return;
    }
    let first = i / params.cols * params.per_token;
    var sum = 0.0;
    for (var choice = first; choice < first + params.per_token; choice++) {
        let row = assignment[choice];
        if (row & DROPPED) == 0u {
            var value = rows[row * params.cols + i % params.cols];
            if params.weighted == 1u {
                value *= weights[choice];
            }
            sum += value;
        }
    }
    y[i] = sum;
}
