// Group norm: each group of channels of each image, `y = (x - mean) * rstd * weight + shift` (Wu & He 2018).
//
// `x` and `y` are `[images * pixels, cols]`; `stats[images * groups, 2]` gets `mean` and `rstd = 1 / sqrt(variance + eps)`.
// A workgroup has a group of an image; it sums by lanes, and then over them.
//
// Before it stand `parts/group_norm` and `parts/lane_sum`.
// CPU twin: engine/src/exec/cpu/group_norm.rs

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> shift: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read_write> stats: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = params.cols / params.groups;
    let n = params.pixels * width;
    let first = workgroup.y * params.pixels * params.cols + workgroup.x * width;
    var term = 0.0;
    for (var e = lane; e < n; e += LANES) {
        term += x[first + e / width * params.cols + e % width];
    }
    let mean = total(lane, term) / f32(n);
    term = 0.0;
    for (var e = lane; e < n; e += LANES) {
        let centred = x[first + e / width * params.cols + e % width] - mean;
        term += centred * centred;
    }
    let rstd = inverseSqrt(total(lane, term) / f32(n) + params.eps);
    for (var e = lane; e < n; e += LANES) {
        let i = first + e / width * params.cols + e % width;
        let c = workgroup.x * width + e % width;
        y[i] = (x[i] - mean) * rstd * weight[c] + shift[c];
    }
    if lane == 0u {
        let row = workgroup.y * params.groups + workgroup.x;
        stats[2u * row] = mean;
        stats[2u * row + 1u] = rstd;
    }
}
