// Gradient of `attention_values` for the values, of every query head apart: `dv[j, h] = sum_t p[t, h, j] * dout[t, h]`.
//
// `dv` is `[T, heads * value_dim]` as `dout` is; all else is as in `attention_values`.
//
// Before it stands `parts/attention`.
// CPU twin: engine/src/exec/cpu/attention_values_grad_v.rs

@group(0) @binding(0) var<storage, read> p: array<f32>;
@group(0) @binding(1) var<storage, read> dout: array<f32>;
@group(0) @binding(2) var<storage, read_write> dv: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let heads = params.groups * params.q_per_group;
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.batch * params.keys * heads * params.value_dim {
        return;
    }
    let row = i / params.value_dim / heads;
    let h = i / params.value_dim % heads;
    let first = row / params.keys * params.queries;
    var sum = 0.0;
    for (var t = first; t < first + params.queries; t++) {
        let head = t * heads + h;
        sum += p[head * params.keys + row % params.keys] * dout[head * params.value_dim + i % params.value_dim];
    }
    dv[i] = sum;
}
