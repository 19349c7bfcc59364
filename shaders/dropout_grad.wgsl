// Gradient of `dropout`: `dx = dy * scale` where the mask says 1, 0 elsewhere.
//
// CPU twin: engine/src/exec/cpu/dropout_grad.rs

struct Params {
    n: u32,
    scale: f32,
}

@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read> mask: array<u32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.n {
        return;
    }
    dx[i] = select(0.0, dy[i] * params.scale, ((mask[i / 4u] >> (i % 4u * 8u)) & 1u) == 1u);
}
