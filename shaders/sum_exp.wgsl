// What the cross entropy needs of each row from this vocabulary shard, given `m`, the largest logit over all shards:
// `out[t] = (sum_j exp(logits[t, j] - m[t]), logits[t, target] - m[t])`, the latter 0 if the target is in another shard.
//
// `logits` is `[T, cols]`, `targets[T]` are token ids, `out` is `[T, 2]`; its sum over the shards is the whole.
//
// CPU twin: engine/src/exec/cpu/sum_exp.rs

struct Params {
    rows: u32,
    cols: u32,
    vocab_offset: u32,
    vocab_total: u32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> m: array<f32>;
@group(0) @binding(2) var<storage, read> targets: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

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
    var sum = 0.0;
    for (var j = 0u; j < valid; j++) {
        sum += exp(logits[row + j] - m[t]);
    }
    // A target below the offset wraps around and is outside, too.
    let label = targets[t] - params.vocab_offset;
    out[2u * t] = sum;
    if label < valid {
        out[2u * t + 1u] = logits[row + label] - m[t];
    } else {
        out[2u * t + 1u] = 0.0;
    }
}
