// Root mean square norm over each row (Zhang & Sennrich 2019): `y = x * rstd * w` with `rstd = 1 / sqrt(mean(x^2) + eps)`.
//
// `x` and `y` are `[T, cols]`, `w` is `[cols]`, `stats[T]` keeps `rstd` for the gradients.
//
// CPU twin: engine/src/exec/cpu/rms_norm.rs

struct Params {
    rows: u32,
    cols: u32,
    eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> stats: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let t = gid.x + gid.y * workgroups.x * 64u;
    if t >= params.rows {
        return;
    }
    let row = t * params.cols;

    var squares = 0.0;
    for (var j = 0u; j < params.cols; j++) {
        squares += x[row + j] * x[row + j];
    }
    let rstd = 1.0 / sqrt(squares / f32(params.cols) + params.eps);
    for (var j = 0u; j < params.cols; j++) {
        y[row + j] = x[row + j] * rstd * w[j];
    }
    stats[t] = rstd;
}
