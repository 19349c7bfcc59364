// Gradient of `relu` from its result: `dx = y > 0 ? dy : 0`.
//
// CPU twin: engine/src/exec/cpu/relu_grad.rs

struct Params {
    n: u32,
}

@group(0) @binding(0) var<storage, read> y: array<f32>;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.n {
        return;
    }
    dx[i] = select(0.0, dy[i], y[i] > 0.0);
}
