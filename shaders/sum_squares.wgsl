// Scaled sum of squares: `out[0] += scale * sum x^2`.
//
// One workgroup sums lane by lane and then as a tree, so the order of the sum never changes.
//
// CPU twin: engine/src/exec/cpu/sum_squares.rs

struct Params {
    n: u32,
    scale: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

const LANES: u32 = 256u;

var<workgroup> lanes: array<f32, LANES>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var i = lane; i < params.n; i += LANES) {
        sum += x[i] * x[i];
    }
    lanes[lane] = sum;
    for (var half_width = LANES / 2u; half_width > 0u; half_width /= 2u) {
        workgroupBarrier();
        if lane < half_width {
            lanes[lane] += lanes[lane + half_width];
        }
    }
    if lane == 0u {
        out[0] += params.scale * lanes[0];
    }
}
