// The same as `layer_norm_grad`, by workgroups that share a row: for devices that run many at once.
//
// Before it stands `parts/lane_sum`.
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
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let t = group.x + group.y * workgroups.x;
    if t >= params.rows {
        return;
    }
    let row = t * params.cols;

    let mean = stats[2u * t];
    let rstd = stats[2u * t + 1u];
    var sum_g = 0.0;
    var sum_gx = 0.0;
    for (var j = lane; j < params.cols; j += LANES) {
        let g = dy[row + j] * w[j];
        sum_g += g;
        sum_gx += g * (x[row + j] - mean) * rstd;
    }
    let mean_g = total(lane, sum_g) / f32(params.cols);
    let mean_gx = total(lane, sum_gx) / f32(params.cols);
    for (var j = lane; j < params.cols; j += LANES) {
        let xhat = (x[row + j] - mean) * rstd;
        dx[row + j] = rstd * (dy[row + j] * w[j] - mean_g - xhat * mean_gx);
    }
}
