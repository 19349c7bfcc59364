// The first of the two kernels that SwiGLU is where nothing is fused: `y[i] = silu(x[2 i])`, of interleaved gates and
// factors.
//
// CPU twin: engine/src/exec/cpu/silu.rs

struct Params {
    n: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

fn sigmoid(x: f32) -> f32 {
    return 1.0 / (1.0 + exp(-x));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.n {
        return;
    }
    y[i] = x[2u * i] * sigmoid(x[2u * i]);
}
