// The scale of a tensor in eight bits: the power of two by which its largest magnitude is divided to lie in the highest
// binade that does not overflow, `out[words] = 2^e`. What is not finite does not count.
//
// `x` has `n` numbers, `out` their `words` words and the scale behind them. `most` is the largest number of the format.
// One workgroup goes through all of them.
//
// CPU twin: engine/src/exec/cpu/scale.rs

struct Params {
    n: u32,
    words: u32,
    most: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

const LANES: u32 = 256u;

var<workgroup> lanes: array<u32, LANES>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    // Magnitudes are in the order of their bits.
    var largest = 0u;
    for (var i = lane; i < params.n; i += LANES) {
        let size = bitcast<u32>(x[i]) & 0x7fffffffu;
        largest = select(largest, max(largest, size), size < 0x7f800000u);
    }
    lanes[lane] = largest;
    workgroupBarrier();
    if lane == 0u {
        for (var other = 1u; other < LANES; other++) {
            largest = max(largest, lanes[other]);
        }
        let most = bitcast<u32>(params.most);
        let beyond = select(0u, 1u, (largest & 0x7fffffu) > (most & 0x7fffffu));
        let exponent = max((largest >> 23u) + beyond + 127u, most >> 23u) - (most >> 23u);
        out[params.words] = select(clamp(exponent, 1u, 254u) << 23u, 0x3f800000u, (largest >> 23u) == 0u);
    }
}
