// The same as `column_sum`, by workgroups that share eight columns: for devices that run many at once.
//
// Before it stands `parts/column_sums`.
// CPU twin: engine/src/exec/cpu/column_sum.rs

struct Params {
    rows: u32,
    cols: u32,
    stride: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

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
        sum += x[t * params.stride + column];
    }
    sum = of_column(lane, sum);
    if writes {
        out[j] += sum;
    }
}
