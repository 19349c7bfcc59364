// One AdamW update (Loshchilov & Hutter 2019, algorithm 2), with clipping by the global norm:
//
// `g = grad * min(1, clip / (sqrt(norm_sq) + 1e-6))`,
// `m = beta1 m + (1 - beta1) g`, `v = beta2 v + (1 - beta2) g^2`,
// `param -= lr * (m/bias1 / (sqrt(v/bias2) + eps) + weight_decay * param)`.
//
// `hyper = [lr, beta1, beta2, eps, weight_decay, bias1, bias2, clip, unscale]` with `bias1 = 1 - beta1^t`,
// `bias2 = 1 - beta2^t`. Gradients and their norm are multiplied by `unscale` first, 1 over the loss scale.
// It is a buffer because it changes with every step while the recording stays.
// A `clip` of 0 or less means no clipping; the first `decayed` elements have weight decay: parameters of a flat group are ordered so.
//
// Before it stands `parts/update`.
// CPU twin: engine/src/exec/cpu/adamw.rs

struct Params {
    n: u32,
    decayed: u32,
}

@group(0) @binding(0) var<storage, read> grad: array<f32>;
@group(0) @binding(1) var<storage, read> norm_sq: array<f32>;
@group(0) @binding(2) var<storage, read> hyper: array<f32>;
@group(0) @binding(3) var<storage, read_write> param: array<f32>;
@group(0) @binding(4) var<storage, read_write> m: array<f32>;
@group(0) @binding(5) var<storage, read_write> v: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.n || !is_finite(norm_sq[0]) {
        return;
    }
    let lr = hyper[0];
    let beta1 = hyper[1];
    let beta2 = hyper[2];
    let eps = hyper[3];
    let weight_decay = select(0.0, hyper[4], i < params.decayed);
    let bias1 = hyper[5];
    let bias2 = hyper[6];
    let factor = gradient_factor(hyper[7], hyper[8], norm_sq[0]);

    let g = grad[i] * factor;
    let mean = beta1 * m[i] + (1.0 - beta1) * g;
    let square = beta2 * v[i] + (1.0 - beta2) * g * g;
    let step = mean / bias1 / (sqrt(square / bias2) + eps);
    let before = param[i];
    m[i] = mean;
    v[i] = square;
    param[i] = before - lr * (step + weight_decay * before);
}
