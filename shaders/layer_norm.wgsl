// Layer norm over each row: `y = (x - mean) * rstd * w + b` with `rstd = 1 / sqrt(var + eps)`.
//
// `x` and `y` are `[T, cols]`, `w` and `b` are `[cols]`, `stats[T, 2]` keeps `mean` and `rstd` for the gradients.
//
// CPU twin: engine/src/exec/cpu/layer_norm.rs

struct Params {
    rows: u32,
    cols: u32,
    eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read_write> stats: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let t = gid.x + gid.y * workgroups.x * 64u;
    if t >= params.rows {
        return;
    }
    let row = t * params.cols;

    var sum = 0.0;
    for (var j = 0u; j < params.cols; j++) {
        sum += x[row + j];
    }
    let mean = sum / f32(params.cols);
    var squares = 0.0;
    for (var j = 0u; j < params.cols; j++) {
        squares += (x[row + j] - mean) * (x[row + j] - mean);
    }
    let rstd = 1.0 / sqrt(squares / f32(params.cols) + params.eps);
    for (var j = 0u; j < params.cols; j++) {
        y[row + j] = (x[row + j] - mean) * rstd * w[j] + b[j];
    }
    stats[2u * t] = mean;
    stats[2u * t + 1u] = rstd;
}
