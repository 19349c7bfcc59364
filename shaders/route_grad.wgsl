// Gradient of `route` for the scores: `dscores[t, e] = w * (dw - sum_c w_c dw_c)` for the chosen experts, 0 for others.
//
// `assignment` and `dweights` are `[rows, per_token]`, `scores` and `dscores` are `[rows, experts]`. The weights are
// computed again.
//
// CPU twin: engine/src/exec/cpu/route_grad.rs

struct Params {
    rows: u32,
    experts: u32,
    per_token: u32,
    capacity: u32,
}

@group(0) @binding(0) var<storage, read> scores: array<f32>;
@group(0) @binding(1) var<storage, read> assignment: array<u32>;
@group(0) @binding(2) var<storage, read> dweights: array<f32>;
@group(0) @binding(3) var<storage, read_write> dscores: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

const DROPPED: u32 = 0x80000000u;

fn chosen(i: u32) -> u32 {
    let row = assignment[i];
    return select(row / params.capacity, row & ~DROPPED, (row & DROPPED) != 0u);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let t = gid.x + gid.y * workgroups.x * 64u;
    if t >= params.rows {
        return;
    }
    for (var e = 0u; e < params.experts; e++) {
        dscores[t * params.experts + e] = 0.0;
    }
    let first = t * params.per_token;
    let largest = scores[t * params.experts + chosen(first)];
    var sum = 0.0;
    var weighted = 0.0;
    for (var c = 0u; c < params.per_token; c++) {
        let weight = exp(scores[t * params.experts + chosen(first + c)] - largest);
        sum += weight;
        weighted += weight * dweights[first + c];
    }
    for (var c = 0u; c < params.per_token; c++) {
        let at = t * params.experts + chosen(first + c);
        dscores[at] = exp(scores[at] - largest) / sum * (dweights[first + c] - weighted / sum);
    }
}
