// GELU in the tanh approximation of GPT-2 (Hendrycks & Gimpel 2016):
// `y = x/2 * (1 + tanh(u))` with `u = sqrt(2/pi) * (x + 0.044715 x^3)`.
//
// CPU twin: engine/src/exec/cpu/gelu.rs

struct Params {
    n: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

// sqrt(2 / pi)
const ROOT: f32 = 0.7978845608028654;
const CUBIC: f32 = 0.044715;

// Some drivers compute tanh from exponentials that overflow; beyond 15 it is 1 in f32 anyway.
fn bounded_tanh(u: f32) -> f32 {
    return tanh(clamp(u, -15.0, 15.0));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.n {
        return;
    }
    let u = ROOT * (x[i] + CUBIC * x[i] * x[i] * x[i]);
    y[i] = 0.5 * x[i] * (1.0 + bounded_tanh(u));
}
