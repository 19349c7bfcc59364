// Softmax of attention that is not fused, over the keys that a token sees; others weigh nothing.
//
// `s` and `p` are `[T, heads * keys]` with `T = batch * queries`, `heads = groups * q_per_group`.
//
// Before it stands `parts/attention`.
// CPU twin: engine/src/exec/cpu/attention_softmax.rs

@group(0) @binding(0) var<storage, read> s: array<f32>;
@group(0) @binding(1) var<storage, read_write> p: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let heads = params.groups * params.q_per_group;
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.batch * params.queries * heads {
        return;
    }
    let seen = keys_of(i / heads);
    let row = i * params.keys;
    var largest = s[row + seen.x];
    for (var j = seen.x; j < seen.y; j++) {
        largest = max(largest, s[row + j]);
    }
    var sum = 0.0;
    for (var j = seen.x; j < seen.y; j++) {
        sum += exp(s[row + j] - largest);
    }
    for (var j = 0u; j < params.keys; j++) {
        let weight = exp(min(s[row + j] - largest, 0.0)) / sum;
        p[row + j] = select(0.0, weight, j >= seen.x && j < seen.y);
    }
}
