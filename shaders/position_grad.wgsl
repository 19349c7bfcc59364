// Gradient of `position` for its table: `dtable[s, :] += sum of dout[t, :] over t with
// (row_offset + t) mod seq * stride + first = s`.
//
// The shader gathers: each table element steps through its rows, so nothing races.
// The twin has one thread and scatters row by row, which adds in the same order.
//
// CPU twin: engine/src/exec/cpu/position_grad.rs

struct Params {
    rows: u32,
    cols: u32,
    seq: u32,
    row_offset: u32,
    stride: u32,
    first: u32,
}

@group(0) @binding(0) var<storage, read> dout: array<f32>;
@group(0) @binding(1) var<storage, read_write> dtable: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.seq * params.cols {
        return;
    }
    let position = i / params.cols;
    let j = i % params.cols;
    let entry = (position * params.stride + params.first) * params.cols + j;
    var sum = dtable[entry];
    // The first row at this position.
    let first = (position + params.seq - params.row_offset % params.seq) % params.seq;
    for (var t = first; t < params.rows; t += params.seq) {
        sum += dout[t * params.cols + j];
    }
    dtable[entry] = sum;
}
