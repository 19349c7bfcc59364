// Gradient of `cross` for the first input and the product: `dx0 = dy * u`, `du = dy * x0`; that for `x` is `dy`.
//
// CPU twin: engine/src/exec/cpu/cross_grad.rs

struct Params {
    n: u32,
}

@group(0) @binding(0) var<storage, read> x0: array<f32>;
@group(0) @binding(1) var<storage, read> u: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx0: array<f32>;
@group(0) @binding(4) var<storage, read_write> du: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.n {
        return;
    }
    dx0[i] = dy[i] * u[i];
    du[i] = dy[i] * x0[i];
}
