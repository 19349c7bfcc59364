// The same as `rms_norm_grad_params`, by workgroups that share eight columns: for devices that run many at once.
//
// Before it stands `parts/column_sums`.
// CPU twin: engine/src/exec/cpu/rms_norm_grad_params.rs

struct Params {
    rows: u32,
    cols: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> stats: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dw: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let j = (group.x + group.y * workgroups.x) * COLUMNS + lane % COLUMNS;
    let column = min(j, params.cols - 1u);
    let first = lane / COLUMNS;
    let writes = first == 0u && j < params.cols;

    var sum = 0.0;
    for (var t = first; t < params.rows; t += ROWS) {
        sum += dy[t * params.cols + column] * x[t * params.cols + column] * stats[t];
    }
    sum = of_column(lane, sum);
    if writes {
        dw[j] += sum;
    }
}
