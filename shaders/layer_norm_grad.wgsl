// Gradient of `layer_norm` for its input: `dx = rstd * (g - mean(g) - xhat * mean(g * xhat))`
// with `g = dy * w` and `xhat = (x - mean) * rstd`.
//
// `x`, `dy` and `dx` are `[T, cols]`, `w` is `[cols]`, `stats[T, 2]` holds `mean` and `rstd`.
//
// CPU twin: engine/src/exec/cpu/layer_norm_grad.rs

struct Params {
    rows: u32,
    cols: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read> stats: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let t = gid.x + gid.y * workgroups.x * 64u;
    if t >= params.rows {
        return;
    }
    let row = t * params.cols;

    let mean = stats[2u * t];
    let rstd = stats[2u * t + 1u];
    var sum_g = 0.0;
    var sum_gx = 0.0;
    for (var j = 0u; j < params.cols; j++) {
        let g = dy[row + j] * w[j];
        sum_g += g;
        sum_gx += g * (x[row + j] - mean) * rstd;
    }
    let mean_g = sum_g / f32(params.cols);
    let mean_gx = sum_gx / f32(params.cols);
    for (var j = 0u; j < params.cols; j++) {
        let xhat = (x[row + j] - mean) * rstd;
        dx[row + j] = rstd * (dy[row + j] * w[j] - mean_g - xhat * mean_gx);
    }
}
