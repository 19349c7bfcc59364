// Numbers in E4M3 with a scale for every 128 of them (DeepSeek-AI 2024, "DeepSeek-V3", section 3.3.2): `out[i / 4]` gets the
// codes of `x[i] / scale`, four in a word, to the nearest, ties to even. A scale is a power of two with which the largest of
// the block lies in the highest binade; all of them stand behind the last word.
//
// A workgroup has a block, an invocation a word of it.
//
// CPU twin: engine/src/exec/cpu/quantize_blocks.rs

struct Params {
    n: u32,
    words: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

const LANES: u32 = 32u;
const LARGEST: u32 = 0x7eu;

var<workgroup> lanes: array<u32, LANES>;

fn encode(value: f32) -> u32 {
    let all = bitcast<u32>(value);
    let sign = (all >> 24u) & 0x80u;
    let size = all & 0x7fffffffu;
    if size > 0x7f800000u {
        return sign | 0x7fu;
    }
    let exponent = size >> 23u;
    var shift = 20u;
    var digits = size;
    if exponent < 121u {
        // Below the normal numbers the mantissa moves down; below half of the least, nothing is left.
        shift += 121u - exponent;
        if shift > 24u {
            return sign;
        }
        digits = (size & 0x7fffffu) | 0x800000u;
    }
    let nearest = (digits + ((1u << (shift - 1u)) - 1u) + ((digits >> shift) & 1u)) >> shift;
    if exponent < 121u {
        return sign | nearest;
    }
    return sign | min(nearest - (120u << 3u), LARGEST);
}

@compute @workgroup_size(32)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = workgroup.x + workgroup.y * workgroups.x;
    if block * 128u >= params.n {
        return;
    }
    let first = block * 128u + lane * 4u;
    var values = vec4(0.0);
    var largest = 0u;
    for (var place = 0u; place < 4u && first + place < params.n; place++) {
        let value = x[first + place];
        values[place] = value;
        // Magnitudes are in the order of their bits; what is not finite does not count.
        let size = bitcast<u32>(value) & 0x7fffffffu;
        largest = select(largest, max(largest, size), size < 0x7f800000u);
    }
    lanes[lane] = largest;
    for (var half_width = LANES / 2u; half_width > 0u; half_width /= 2u) {
        workgroupBarrier();
        if lane < half_width {
            lanes[lane] = max(lanes[lane], lanes[lane + half_width]);
        }
    }
    workgroupBarrier();
    let size = lanes[0];
    let most = bitcast<u32>(448.0);
    let beyond = select(0u, 1u, (size & 0x7fffffu) > (most & 0x7fffffu));
    let exponent = max((size >> 23u) + beyond + 127u, most >> 23u) - (most >> 23u);
    let scale = select(clamp(exponent, 1u, 254u) << 23u, 0x3f800000u, (size >> 23u) == 0u);
    if first < params.n {
        var codes = 0u;
        for (var place = 0u; place < 4u && first + place < params.n; place++) {
            codes |= encode(values[place] / bitcast<f32>(scale)) << (place * 8u);
        }
        out[first / 4u] = codes;
    }
    if lane == 0u {
        out[params.words + block] = scale;
    }
}
