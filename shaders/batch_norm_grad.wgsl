// Gradient of `batch_norm`: with `h = (x - mean) * rstd`, `a = sum of dy` and `b = sum of dy * h` over a channel,
// `dx = weight * rstd * (dy - a / rows - h * b / rows)` (Ioffe & Szegedy 2015, section 3).
//
// `sums[cols, 2]` gets `a` and `b`, which are the gradients of shift and weight.
// A workgroup of the shader has a channel; it sums by lanes, and then over them.
//
// Before it stands `parts/lane_sum`.
// CPU twin: engine/src/exec/cpu/batch_norm_grad.rs

struct Params {
    rows: u32,
    cols: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> stats: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;
@group(0) @binding(5) var<storage, read_write> sums: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let c = workgroup.x;
    let n = f32(params.rows);
    let mean = stats[2u * c];
    let rstd = stats[2u * c + 1u];
    var plain = 0.0;
    var weighted = 0.0;
    for (var t = lane; t < params.rows; t += LANES) {
        let i = t * params.cols + c;
        plain += dy[i];
        weighted += dy[i] * (x[i] - mean) * rstd;
    }
    let a = total(lane, plain);
    let b = total(lane, weighted);
    for (var t = lane; t < params.rows; t += LANES) {
        let i = t * params.cols + c;
        let h = (x[i] - mean) * rstd;
        dx[i] = weight[c] * rstd * (dy[i] - a / n - h * b / n);
    }
    if lane == 0u {
        sums[2u * c] = a;
        sums[2u * c + 1u] = b;
    }
}
