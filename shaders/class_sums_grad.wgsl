// Gradient of the cross entropy of few classes: `dlogits[t, j] = (exp(logits[t, j] - m) / s[t] - [j = target]) * scale` with
// `m = max_j logits[t, j]`.
//
// `logits` and `dlogits` are `[rows, cols]`, a part of all rows; `stats` is `[rows, 2]` from `class_sums` and holds `s` first;
// `targets` are the classes of all rows.
//
// CPU twin: engine/src/exec/cpu/class_sums_grad.rs

struct Params {
    rows: u32,
    cols: u32,
    scale: f32,
    first: u32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> stats: array<f32>;
@group(0) @binding(2) var<storage, read> targets: array<u32>;
@group(0) @binding(3) var<storage, read_write> dlogits: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

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
    for (var j = 0u; j < params.cols; j++) {
        let probability = exp(logits[row + j] - m) / stats[2u * t];
        let hit = select(0.0, 1.0, j == targets[params.first + t]);
        dlogits[row + j] = (probability - hit) * params.scale;
    }
}
