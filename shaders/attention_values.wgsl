// Values of attention that is not fused: `out[t, h] = sum_j p[t, h, j] * v[j, h]`.
//
// `p` is `[T, heads * keys]`, `qkv` as in `attention`, `out` is `[T, heads * value_dim]`, with `T = batch * queries`, `heads = groups * q_per_group`.
//
// Before it stand `parts/attention`, `parts/attention_rows`.
// CPU twin: engine/src/exec/cpu/attention_values.rs

@group(0) @binding(0) var<storage, read> p: array<f32>;
@group(0) @binding(1) var<storage, read> qkv: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let heads = params.groups * params.q_per_group;
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.batch * params.queries * heads * params.value_dim {
        return;
    }
    let head = i / params.value_dim;
    let h = head % heads;
    let first = head / heads / params.queries * params.keys;
    var sum = 0.0;
    for (var j = 0u; j < params.keys; j++) {
        sum += p[head * params.keys + j] * qkv[key_at(first + j, h) + params.head_dim + i % params.value_dim];
    }
    out[i] = sum;
}
