// Gradient of `group_norm` for its input: with `h = (x - mean) * rstd`, `g = dy * weight`, `a = sum of g` and `b = sum of
// g * h` over a group of an image, `dx = rstd * (g - a / n - h * b / n)`.
//
// A workgroup has a group of an image; it sums by lanes, and then over them.
//
// Before it stand `parts/group_norm` and `parts/lane_sum`.
// CPU twin: engine/src/exec/cpu/group_norm_grad.rs

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> stats: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = params.cols / params.groups;
    let n = params.pixels * width;
    let first = workgroup.y * params.pixels * params.cols + workgroup.x * width;
    let row = workgroup.y * params.groups + workgroup.x;
    let mean = stats[2u * row];
    let rstd = stats[2u * row + 1u];
    var plain = 0.0;
    var weighted = 0.0;
    for (var e = lane; e < n; e += LANES) {
        let i = first + e / width * params.cols + e % width;
        let g = dy[i] * weight[workgroup.x * width + e % width];
        plain += g;
        weighted += g * (x[i] - mean) * rstd;
    }
    let a = total(lane, plain) / f32(n);
    let b = total(lane, weighted) / f32(n);
    for (var e = lane; e < n; e += LANES) {
        let i = first + e / width * params.cols + e % width;
        let g = dy[i] * weight[workgroup.x * width + e % width];
        dx[i] = rstd * (g - a - (x[i] - mean) * rstd * b);
    }
}
