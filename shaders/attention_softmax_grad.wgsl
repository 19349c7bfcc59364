// Gradient of `attention_softmax`: `ds = p * (dp - sum_j p dp)`.
//
// All are `[T, heads * keys]` with `T = batch * queries`, `heads = groups * q_per_group`.
//
// Before it stands `parts/attention`.
// CPU twin: engine/src/exec/cpu/attention_softmax_grad.rs

@group(0) @binding(0) var<storage, read> p: array<f32>;
@group(0) @binding(1) var<storage, read> dp: array<f32>;
@group(0) @binding(2) var<storage, read_write> ds: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.batch * params.queries * params.groups * params.q_per_group {
        return;
    }
    let row = i * params.keys;
    var sum = 0.0;
    for (var j = row; j < row + params.keys; j++) {
        sum += p[j] * dp[j];
    }
    for (var j = row; j < row + params.keys; j++) {
        ds[j] = p[j] * (dp[j] - sum);
    }
}
