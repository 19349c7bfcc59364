// Gradient of `embedding` for its table: `dtable[id - vocab_offset, :] += sum of dout[t, :] over t with ids[t] = id`.
//
// An invocation owns a column of one class of ids, those with the same rest by `CLASSES`, and goes through all rows in
// order: nothing races, and a row is added once.
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

const CLASSES: u32 = 16u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.cols * CLASSES {
        return;
    }
    let own = i / params.cols;
    let j = i % params.cols;
    for (var t = 0u; t < params.rows; t++) {
        // An id before this shard wraps around, far beyond its end.
        let id = ids[t] - params.vocab_offset;
        if id < params.vocab_local && id % CLASSES == own {
            dtable[id * params.cols + j] += dout[t * params.cols + j];
        }
    }
}
