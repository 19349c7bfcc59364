// The same as `layer_norm`, by workgroups that share a row: for devices that run many at once.
//
// Before it stands `parts/lane_sum`.
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

    var sum = 0.0;
    for (var j = lane; j < params.cols; j += LANES) {
        sum += x[row + j];
    }
    let mean = total(lane, sum) / f32(params.cols);
    var squares = 0.0;
    for (var j = lane; j < params.cols; j += LANES) {
        squares += (x[row + j] - mean) * (x[row + j] - mean);
    }
    let rstd = 1.0 / sqrt(total(lane, squares) / f32(params.cols) + params.eps);
    for (var j = lane; j < params.cols; j += LANES) {
        y[row + j] = (x[row + j] - mean) * rstd * w[j] + b[j];
    }
    if lane == 0u {
        stats[2u * t] = mean;
        stats[2u * t + 1u] = rstd;
    }
}
