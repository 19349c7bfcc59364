// Gradient of `attention_values` for the weights: `dp[t, h, j] = dout[t, h] . v[j, h]`.
//
// All are as in `attention_values`.
//
// CPU twin: engine/src/exec/cpu/attention_values_grad_p.rs

struct Params {
    batch: u32,
    queries: u32,
    keys: u32,
    groups: u32,
    q_per_group: u32,
    head_dim: u32,
    value_dim: u32,
    scale: f32,
    query_stride: u32,
    query_first: u32,
    key_first: u32,
    gather: u32,
    window: u32,
    flags: u32,
}

@group(0) @binding(0) var<storage, read> qkv: array<f32>;
@group(0) @binding(1) var<storage, read> dout: array<f32>;
@group(0) @binding(2) var<storage, read_write> dp: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

// Where the query of head h begins in row t of fused rows, and the key of its group, which its value follows.
fn query_at(t: u32, h: u32) -> u32 {
    return group_at(t, h) + h % params.q_per_group * params.head_dim;
}

fn key_at(t: u32, h: u32) -> u32 {
    return group_at(t, h) + params.q_per_group * params.head_dim;
}

fn group_at(t: u32, h: u32) -> u32 {
    let width = (params.q_per_group + 1u) * params.head_dim + params.value_dim;
    return (t * params.groups + h / params.q_per_group) * width;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let heads = params.groups * params.q_per_group;
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.batch * params.queries * heads * params.keys {
        return;
    }
    let head = i / params.keys;
    let v = key_at(head / heads / params.queries * params.keys + i % params.keys, head % heads) + params.head_dim;
    var sum = 0.0;
    for (var d = 0u; d < params.value_dim; d++) {
        sum += dout[head * params.value_dim + d] * qkv[v + d];
    }
    dp[i] = sum;
}
