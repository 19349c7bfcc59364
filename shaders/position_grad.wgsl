// Gradient of `position` for its table: `dtable[s, :] += sum of dout[t, :] over t with
// ((row_offset + t) mod seq * stride + first) / group = s`.
//
// The shader gathers: each table element steps through its rows, so nothing races.
// The twin has one thread and scatters row by row.
//
// CPU twin: engine/src/exec/cpu/position_grad.rs

struct Params {
    rows: u32,
    cols: u32,
    seq: u32,
    row_offset: u32,
    stride: u32,
    first: u32,
    group: u32,
}

@group(0) @binding(0) var<storage, read> dout: array<f32>;
@group(0) @binding(1) var<storage, read_write> dtable: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    let entries = ((params.seq - 1u) * params.stride + params.first) / params.group + 1u;
    if i >= entries * params.cols {
        return;
    }
    let entry = i / params.cols;
    let j = i % params.cols;
    var sum = dtable[i];
    // The positions of this rank that share the entry.
    let least = max(entry * params.group, params.first) - params.first;
    for (var p = (least + params.stride - 1u) / params.stride; p < params.seq; p++) {
        if (p * params.stride + params.first) / params.group != entry {
            break;
        }
        // The first row at this position.
        let first = (p + params.seq - params.row_offset % params.seq) % params.seq;
        for (var t = first; t < params.rows; t += params.seq) {
            sum += dout[t * params.cols + j];
        }
    }
    dtable[i] = sum;
}
