// Gradient of `swiglu`, with `s = sigmoid(gate)`:
// `dgate = dy * up * s * (1 + gate * (1 - s))` and `dup = dy * gate * s`.
//
// `x` and `dx` are `[T, 2f]` with gate and up interleaved, `dy` is `[T, f]` and `n = T * f`.
//
// CPU twin: engine/src/exec/cpu/swiglu_grad.rs

struct Params {
    n: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

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
    let s = sigmoid(gate);
    dx[2u * i] = dy[i] * up * s * (1.0 + gate * (1.0 - s));
    dx[2u * i + 1u] = dy[i] * gate * s;
}
