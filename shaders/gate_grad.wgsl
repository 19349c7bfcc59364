// Gradient of `gate`: `dgate[i] = dy[i] * x[2 i + 1]`, `dup[i] = dy[i] * gate[i]`.
//
// CPU twin: engine/src/exec/cpu/gate_grad.rs

struct Params {
    n: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> gate: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dgate: array<f32>;
@group(0) @binding(4) var<storage, read_write> dup: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.n {
        return;
    }
    dgate[i] = dy[i] * x[2u * i + 1u];
    dup[i] = dy[i] * gate[i];
}
