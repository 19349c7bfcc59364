// What a cross entropy of few classes needs of each row: `out[t] = (sum_j exp(logits[t, j] - m), logits[t, target] - m)` with
// `m = max_j logits[t, j]`.
//
// `logits` is `[rows, cols]`, a part of all rows; `targets` are the classes of all; `out` is `[rows, 2]`, as `cross_entropy`
// reads it.
//
// CPU twin: engine/src/exec/cpu/class_sums.rs

struct Params {
    rows: u32,
    cols: u32,
    first: u32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let t = gid.x + gid.y * workgroups.x * 64u;
    if t >= params.rows {
        return;
    }
    let row = t * params.cols;
    var m = logits[row];
    for (var j = 1u; j < params.cols; j++) {
        m = max(m, logits[row + j]);
    }
    var sum = 0.0;
    for (var j = 0u; j < params.cols; j++) {
        sum += exp(logits[row + j] - m);
    }
    out[2u * t] = sum;
    out[2u * t + 1u] = logits[row + targets[params.first + t]] - m;
}
