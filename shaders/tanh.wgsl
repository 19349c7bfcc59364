// Hyperbolic tangent: `y = tanh(x)`.
//
// CPU twin: engine/src/exec/cpu/tanh.rs

struct Params {
    n: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

// Some drivers compute tanh from exponentials that overflow; beyond 15 it is 1 in f32 anyway.
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.n {
        return;
    }
    y[i] = tanh(clamp(x[i], -15.0, 15.0));
}
