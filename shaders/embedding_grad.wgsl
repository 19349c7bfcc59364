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
    var t = 0u;
    loop {
        // First to the next token of the class, then the work: devices that compute both sides of a branch, and all
        // invocations of a workgroup that share a class, do it no more often than it is asked for.
        while t < params.rows && !is_own(ids[t], own) {
            t++;
        }
        if t >= params.rows {
            break;
        }
        let id = ids[t] - params.vocab_offset;
        dtable[id * params.cols + j] += dout[t * params.cols + j];
        t++;
    }
}

// Whether a token's row lies in this shard and belongs to a class. An id before the shard wraps around, far beyond its
// end.
fn is_own(token: u32, class_index: u32) -> bool {
    let id = token - params.vocab_offset;
    return id < params.vocab_local && id % CLASSES == class_index;
}
