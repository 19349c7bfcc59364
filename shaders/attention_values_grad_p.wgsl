// Gradient of `attention_values` for the weights: `dp[t, h, j] = dout[t, h] . v[j, h]`.
//
// All are as in `attention_values`.
//
// Before it stand `parts/attention`, `parts/attention_rows`.
// CPU twin: engine/src/exec/cpu/attention_values_grad_p.rs

@group(0) @binding(0) var<storage, read> qkv: array<f32>;
@group(0) @binding(1) var<storage, read> dout: array<f32>;
@group(0) @binding(2) var<storage, read_write> dp: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

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
