// Scores of attention that is not fused: `s[t, h, j] = q[t, h] . k[j, h] * scale`, for all keys `j` of the sequence.
//
// `qkv` is as in `attention`, `s` is `[T, heads * keys]` with `T = batch * queries`, `heads = groups * q_per_group`.
//
// Before it stand `parts/attention`, `parts/attention_rows`.
// CPU twin: engine/src/exec/cpu/attention_scores.rs

@group(0) @binding(0) var<storage, read> qkv: array<f32>;
@group(0) @binding(1) var<storage, read_write> s: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let heads = params.groups * params.q_per_group;
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.batch * params.queries * heads * params.keys {
        return;
    }
    let t = i / params.keys / heads;
    let h = i / params.keys % heads;
    let q = query_at(t, h);
    let k = key_at(t / params.queries * params.keys + i % params.keys, h);
    var sum = 0.0;
    for (var d = 0u; d < params.head_dim; d++) {
        sum += qkv[q + d] * qkv[k + d];
    }
    s[i] = sum * params.scale;
}
