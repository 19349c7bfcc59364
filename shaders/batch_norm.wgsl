// Batch norm: each channel over all pixels of the micro-batch, `y = (x - mean) * rstd * weight + shift`.
//
// `x` and `y` are `[rows, cols]`; `stats[cols, 2]` gets `mean` and `rstd = 1 / sqrt(variance + eps)` of each channel, with the
// variance of what is there (Ioffe & Szegedy 2015, algorithm 1).
// A workgroup of the shader has a channel; it sums by lanes, and then over them.
//
// Before it stands `parts/lane_sum`.
// CPU twin: engine/src/exec/cpu/batch_norm.rs

struct Params {
    rows: u32,
    cols: u32,
    eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> shift: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read_write> stats: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let c = workgroup.x;
    let n = f32(params.rows);
    var term = 0.0;
    for (var t = lane; t < params.rows; t += LANES) {
        term += x[t * params.cols + c];
    }
    let mean = total(lane, term) / n;
    term = 0.0;
    for (var t = lane; t < params.rows; t += LANES) {
        let centred = x[t * params.cols + c] - mean;
        term += centred * centred;
    }
    let rstd = inverseSqrt(total(lane, term) / n + params.eps);
    for (var t = lane; t < params.rows; t += LANES) {
        y[t * params.cols + c] = (x[t * params.cols + c] - mean) * rstd * weight[c] + shift[c];
    }
    if lane == 0u {
        stats[2u * c] = mean;
        stats[2u * c + 1u] = rstd;
    }
}
