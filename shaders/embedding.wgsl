// Rows of a table: `out[t, :] = table[ids[t] - vocab_offset, :]`, or 0 for ids outside this shard.
//
// `ids[T]` are token ids, `table` is `[vocab_local, cols]` and `out` is `[T, cols]`.
// The sum of `out` over the vocabulary shards is the whole embedding.
//
// CPU twin: engine/src/exec/cpu/embedding.rs

struct Params {
    rows: u32,
    cols: u32,
    vocab_offset: u32,
    vocab_local: u32,
}

@group(0) @binding(0) var<storage, read> ids: array<u32>;
@group(0) @binding(1) var<storage, read> table: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.rows * params.cols {
        return;
    }
    // An id below the offset wraps around and is outside, too.
    let id = ids[i / params.cols] - params.vocab_offset;
    if id < params.vocab_local {
        out[i] = table[id * params.cols + i % params.cols];
    } else {
        out[i] = 0.0;
    }
}
