// The largest logit of each row in this vocabulary shard: `out[t] = max_j logits[t, j]` over `vocab_offset + j < vocab_total`.
//
// `logits` is `[T, cols]`, `out` is `[T]`.
// A shard of nothing but padding gives -3e38, which any logit of another shard exceeds.
//
// CPU twin: engine/src/exec/cpu/row_max.rs

struct Params {
    rows: u32,
    cols: u32,
    vocab_offset: u32,
    vocab_total: u32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

const LOWEST: f32 = -3.0e38;

// Columns that hold a logit; the rest is padding.
fn valid_columns() -> u32 {
    return min(params.cols, max(params.vocab_total, params.vocab_offset) - params.vocab_offset);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let t = gid.x + gid.y * workgroups.x * 64u;
    if t >= params.rows {
        return;
    }
    let row = t * params.cols;

    let valid = valid_columns();
    var largest = LOWEST;
    for (var j = 0u; j < valid; j++) {
        largest = max(largest, logits[row + j]);
    }
    out[t] = largest;
}
