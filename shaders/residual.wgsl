// Residual connection: `out = x + y + bias`, with `bias[cols]` on every row.
//
// Without a bias `has_bias` is 0 and any buffer may be bound in its place.
//
// CPU twin: engine/src/exec/cpu/residual.rs

struct Params {
    n: u32,
    cols: u32,
    has_bias: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> y: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.n {
        return;
    }
    var sum = x[i] + y[i];
    if params.has_bias == 1u {
        sum += bias[i % params.cols];
    }
    out[i] = sum;
}
