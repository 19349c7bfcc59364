// Gradient of `embedding` for its table: `dtable[id - vocab_offset, :] += sum of dout[t, :] over t with ids[t] = id`.
//
// The shader gathers: each table element looks through all rows, so nothing races.
// The twin has one thread and scatters row by row, which adds in the same order.
//
// CPU twin: engine/src/exec/cpu/embedding_grad.rs

struct Params {
    rows: u32,
    cols: u32,
    vocab_offset: u32,
    vocab_local: u32,
}

@group(0) @binding(0) var<storage, read> ids: array<u32>;
@group(0) @binding(1) var<storage, read> dout: array<f32>;
@group(0) @binding(2) var<storage, read_write> dtable: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.vocab_local * params.cols {
        return;
    }
    let id = params.vocab_offset + i / params.cols;
    let j = i % params.cols;
    var sum = dtable[i];
    for (var t = 0u; t < params.rows; t++) {
        if ids[t] == id {
            sum += dout[t * params.cols + j];
        }
    }
    dtable[i] = sum;
}
