// The same as `row_max`, by workgroups that share a row: for devices that run many at once.
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

const LANES: u32 = 64u;

var<workgroup> lanes: array<f32, LANES>;

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
    var largest = LOWEST;
    for (var j = lane; j < valid; j += LANES) {
        largest = max(largest, logits[row + j]);
    }
    lanes[lane] = largest;
    workgroupBarrier();
    if lane != 0u {
        return;
    }
    for (var other = 1u; other < LANES; other++) {
        largest = max(largest, lanes[other]);
    }
    out[t] = largest;
}
