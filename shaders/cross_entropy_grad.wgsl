// Gradient of `cross_entropy` for the logits of this vocabulary shard:
// `dlogits[t, j] = (exp(logits[t, j] - m[t]) / s[t] - [j = target]) * scale`, and 0 in padded columns.
//
// `logits` and `dlogits` are `[T, cols]`, `m[T]` is the row maximum over all shards, `stats[T, 2]` holds `s` first,
// `targets[T]` are token ids.
//
// CPU twin: engine/src/exec/cpu/cross_entropy_grad.rs

struct Params {
    rows: u32,
    cols: u32,
    vocab_offset: u32,
    vocab_total: u32,
    scale: f32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> m: array<f32>;
@group(0) @binding(2) var<storage, read> stats: array<f32>;
@group(0) @binding(3) var<storage, read> targets: array<u32>;
@group(0) @binding(4) var<storage, read_write> dlogits: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

// Columns that hold a logit; the rest is padding.
fn valid_columns() -> u32 {
    return min(params.cols, max(params.vocab_total, params.vocab_offset) - params.vocab_offset);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.rows * params.cols {
        return;
    }
    let t = i / params.cols;
    let j = i % params.cols;
    if j >= valid_columns() {
        dlogits[i] = 0.0;
        return;
    }
    let probability = exp(logits[i] - m[t]) / stats[2u * t];
    let label = targets[t] - params.vocab_offset;
    let hit = select(0.0, 1.0, j == label);
    dlogits[i] = (probability - hit) * params.scale;
}
