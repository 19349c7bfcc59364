// The row sums that both attention gradients need: `delta[t, h] = sum_d out[t, h, d] * dout[t, h, d]`.
//
// `out` and `dout` are `[T, heads * value_dim]`, `delta` is `[T, heads]`,
// with `T = batch * queries` and `heads = groups * q_per_group`.
//
// Before it stands `parts/attention`.
// CPU twin: engine/src/exec/cpu/attention_delta.rs

@group(0) @binding(0) var<storage, read> out: array<f32>;
@group(0) @binding(1) var<storage, read> dout: array<f32>;
@group(0) @binding(2) var<storage, read_write> delta: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let heads = params.groups * params.q_per_group;
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.batch * params.queries * heads {
        return;
    }
    var sum = 0.0;
    for (var d = 0u; d < params.value_dim; d++) {
        sum += out[i * params.value_dim + d] * dout[i * params.value_dim + d];
    }
    delta[i] = sum;
}
