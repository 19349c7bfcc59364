// Divides matrices by their Frobenius norms, in place: `x = x / (sqrt(sum x^2) + 1e-7)`, so that no singular value exceeds
// one (Jordan et al. 2024, "Muon", before the first Newton-Schulz iteration).
//
// One workgroup goes through a matrix; it sums lane by lane and then as a tree, so the order of the sum never changes.
//
// CPU twin: engine/src/exec/cpu/unit_norm.rs

struct Params {
    n: u32,
    offset: u32,
    matrices: u32,
}

@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<uniform> params: Params;

const LANES: u32 = 256u;

var<workgroup> lanes: array<f32, LANES>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = params.offset + workgroup.x * params.n;
    var sum = 0.0;
    for (var i = lane; i < params.n; i += LANES) {
        let value = x[first + i];
        sum += value * value;
    }
    lanes[lane] = sum;
    for (var half_width = LANES / 2u; half_width > 0u; half_width /= 2u) {
        workgroupBarrier();
        if lane < half_width {
            lanes[lane] += lanes[lane + half_width];
        }
    }
    workgroupBarrier();
    let norm = sqrt(lanes[0]) + 1e-7;
    for (var i = lane; i < params.n; i += LANES) {
        x[first + i] /= norm;
    }
}
