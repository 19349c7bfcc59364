// Gradient of `silu`, joined with that of the factors: `dx[2 i] = dgate[i] * silu'(x[2 i])`, `dx[2 i + 1] = dup[i]`.
//
// CPU twin: engine/src/exec/cpu/silu_grad.rs

struct Params {
    n: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> dgate: array<f32>;
@group(0) @binding(2) var<storage, read> dup: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

fn sigmoid(x: f32) -> f32 {
    return 1.0 / (1.0 + exp(-x));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.n {
        return;
    }
    let s = sigmoid(x[2u * i]);
    dx[2u * i] = dgate[i] * s * (1.0 + x[2u * i] * (1.0 - s));
    dx[2u * i + 1u] = dup[i];
}
