// Binary cross entropy of all rows: `loss[0] += scale * sum_t (max(z, 0) - z * target + ln(1 + exp(-|z|)))` with `z = logits[t]`.
//
// One workgroup sums lane by lane and then as a tree, so the order of the sum never changes.
//
// CPU twin: engine/src/exec/cpu/binary_loss.rs

struct Params {
    rows: u32,
    scale: f32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read_write> loss: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

const LANES: u32 = 256u;

var<workgroup> lanes: array<f32, LANES>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var t = lane; t < params.rows; t += LANES) {
        let z = logits[t];
        sum += max(z, 0.0) - z * f32(targets[t]) + log(1.0 + exp(-abs(z)));
    }
    lanes[lane] = sum;
    for (var half_width = LANES / 2u; half_width > 0u; half_width /= 2u) {
        workgroupBarrier();
        if lane < half_width {
            lanes[lane] += lanes[lane + half_width];
        }
    }
    if lane == 0u {
        loss[0] += params.scale * lanes[0];
    }
}
