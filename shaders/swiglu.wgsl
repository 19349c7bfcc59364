// SwiGLU (Shazeer 2020): `y = silu(gate) * up` with `silu(g) = g / (1 + exp(-g))`.
//
// `x[T, 2f]` holds the gate in column `2j` and up in column `2j + 1`, so that a column shard of it keeps the pairs.
// `y` is `[T, f]` and `n = T * f`.
//
// CPU twin: engine/src/exec/cpu/swiglu.rs

struct Params {
    n: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

// The exponent is bounded because an overflow need not be infinity on every driver.
fn sigmoid(x: f32) -> f32 {
    return 1.0 / (1.0 + exp(min(-x, 80.0)));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.n {
        return;
    }
    let gate = x[2u * i];
    let up = x[2u * i + 1u];
    y[i] = gate * sigmoid(gate) * up;
}
