// Gradients of the weight and the shift of `group_norm`: `dweight[c] += sum of dy * h` and `dshift[c] += sum of dy` over all
// pixels of all images, with `h = (x - mean) * rstd`.
//
// A workgroup has a channel; it sums by lanes, and then over them.
//
// Before it stand `parts/group_norm` and `parts/lane_sum`.
// CPU twin: engine/src/exec/cpu/group_norm_grad_params.rs

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> stats: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dweight: array<f32>;
@group(0) @binding(4) var<storage, read_write> dshift: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let c = workgroup.x;
    let group = c / (params.cols / params.groups);
    var plain = 0.0;
    var weighted = 0.0;
    for (var t = lane; t < params.images * params.pixels; t += LANES) {
        let row = t / params.pixels * params.groups + group;
        let i = t * params.cols + c;
        plain += dy[i];
        weighted += dy[i] * (x[i] - stats[2u * row]) * stats[2u * row + 1u];
    }
    let a = total(lane, plain);
    let b = total(lane, weighted);
    if lane == 0u {
        dweight[c] += b;
        dshift[c] += a;
    }
}
