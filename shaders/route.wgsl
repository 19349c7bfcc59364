// Routing: `weights[t, :] = softmax` of the `per_token` largest scores of token `t`, `choices[t, :]` their experts, the
// largest first (Jiang et al. 2024, "Mixtral of Experts", section 2.1). Of equal scores the first expert counts.
//
// `scores` is `[rows, experts]`, `weights` and `choices` are `[rows, per_token]`.
//
// CPU twin: engine/src/exec/cpu/route.rs

struct Params {
    rows: u32,
    experts: u32,
    per_token: u32,
}

@group(0) @binding(0) var<storage, read> scores: array<f32>;
@group(0) @binding(1) var<storage, read_write> weights: array<f32>;
@group(0) @binding(2) var<storage, read_write> choices: array<u32>;
@group(0) @binding(3) var<uniform> params: Params;

const LOWEST: f32 = -3.0e38;

// The best expert of row t after `last`, which has the score `bound`: lower, or as good and behind it.
fn next_best(t: u32, bound: f32, last: u32, is_first: bool) -> u32 {
    var best = params.experts;
    var score = LOWEST;
    for (var e = 0u; e < params.experts; e++) {
        let s = scores[t * params.experts + e];
        let is_left = is_first || s < bound || (s == bound && e > last);
        if is_left && (s > score || best == params.experts) {
            best = e;
            score = s;
        }
    }
    // Numbers that are none are neither less nor equal: then none is left.
    return min(best, params.experts - 1u);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let t = gid.x + gid.y * workgroups.x * 64u;
    if t >= params.rows {
        return;
    }
    var largest = 0.0;
    var bound = 0.0;
    var last = 0u;
    var sum = 0.0;
    for (var c = 0u; c < params.per_token; c++) {
        let best = next_best(t, bound, last, c == 0u);
        bound = scores[t * params.experts + best];
        last = best;
        if c == 0u {
            largest = bound;
        }
        let weight = exp(bound - largest);
        sum += weight;
        weights[t * params.per_token + c] = weight;
        choices[t * params.per_token + c] = best;
    }
    for (var c = 0u; c < params.per_token; c++) {
        weights[t * params.per_token + c] /= sum;
    }
}
