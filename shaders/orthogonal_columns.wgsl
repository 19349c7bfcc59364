// Makes the columns of a thin matrix orthogonal and of length one, one after the other, in place (the modified Gram-Schmidt
// process; Vogels et al. 2019, "PowerSGD", algorithm 1, line 5). A column that the others leave nothing of becomes zero.
//
// One workgroup goes through the matrix, which begins at element `offset`.
//
// CPU twin: engine/src/exec/cpu/orthogonal_columns.rs

struct Params {
    rows: u32,
    cols: u32,
    offset: u32,
}

@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<uniform> params: Params;

const LANES: u32 = 256u;

var<workgroup> lanes: array<f32, LANES>;

// The dot product of two columns, lane by lane and then as a tree, so that the order of the sum never changes.
fn dot_of(j: u32, k: u32, lane: u32) -> f32 {
    var sum = 0.0;
    for (var i = lane; i < params.rows; i += LANES) {
        sum += x[params.offset + i * params.cols + j] * x[params.offset + i * params.cols + k];
    }
    workgroupBarrier();
    lanes[lane] = sum;
    for (var half_width = LANES / 2u; half_width > 0u; half_width /= 2u) {
        workgroupBarrier();
        if lane < half_width {
            lanes[lane] += lanes[lane + half_width];
        }
    }
    workgroupBarrier();
    return lanes[0];
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    for (var j = 0u; j < params.cols; j++) {
        let length = sqrt(dot_of(j, j, lane)) + 1e-8;
        // Every invocation has rows of its own, so none waits for another's.
        for (var i = lane; i < params.rows; i += LANES) {
            x[params.offset + i * params.cols + j] /= length;
        }
        for (var k = j + 1u; k < params.cols; k++) {
            let along = dot_of(j, k, lane);
            for (var i = lane; i < params.rows; i += LANES) {
                let of_first = x[params.offset + i * params.cols + j];
                x[params.offset + i * params.cols + k] -= along * of_first;
            }
        }
    }
}
