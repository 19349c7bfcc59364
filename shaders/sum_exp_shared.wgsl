// The same as `sum_exp`, by workgroups that share a row: for devices that run many at once.
//
// Before it stands `parts/lane_sum`.
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
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let t = group.x + group.y * workgroups.x;
    if t >= params.rows {
        return;
    }
    let row = t * params.cols;

    let valid = valid_columns();
    var sum = 0.0;
    for (var j = lane; j < valid; j += LANES) {
        sum += exp(logits[row + j] - m[t]);
    }
    sum = total(lane, sum);
    if lane != 0u {
        return;
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
