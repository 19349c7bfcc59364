// Gradient of `layer_norm` for weight and bias: `dw[j] += sum_t dy * (x - mean) * rstd` and `db[j] += sum_t dy`.
//
// `x` and `dy` are `[T, cols]`, `stats[T, 2]` holds `mean` and `rstd`.
// The shader has one invocation per column; the twin goes row by row, which is kinder to its cache and adds in the same
// order.
//
// CPU twin: engine/src/exec/cpu/layer_norm_grad_params.rs

struct Params {
    rows: u32,
    cols: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> stats: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dw: array<f32>;
@group(0) @binding(4) var<storage, read_write> db: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let j = gid.x + gid.y * workgroups.x * 64u;
    if j >= params.cols {
        return;
    }

    var sum_w = dw[j];
    var sum_b = db[j];
    for (var t = 0u; t < params.rows; t++) {
        let g = dy[t * params.cols + j];
        sum_w += g * (x[t * params.cols + j] - stats[2u * t]) * stats[2u * t + 1u];
        sum_b += g;
    }
    dw[j] = sum_w;
    db[j] = sum_b;
}
