// Numbers in eight bits: `out[i / 4]` gets the codes of `x[i] / scale`, four in a word, with `mantissa` bits of mantissa, to
// the nearest, ties to even; what is too large becomes the largest. The scale stands behind the last word.
//
// CPU twin: engine/src/exec/cpu/quantize.rs

struct Params {
    n: u32,
    words: u32,
    mantissa: u32,
    bias: u32,
    largest: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

fn encode(value: f32) -> u32 {
    let all = bitcast<u32>(value);
    let sign = (all >> 24u) & 0x80u;
    let size = all & 0x7fffffffu;
    if size > 0x7f800000u {
        return sign | 0x7fu;
    }
    let exponent = size >> 23u;
    let least = 128u - params.bias;
    var shift = 23u - params.mantissa;
    var digits = size;
    if exponent < least {
        // Below the normal numbers the mantissa moves down; below half of the least, nothing is left.
        shift += least - exponent;
        if shift > 24u {
            return sign;
        }
        digits = (size & 0x7fffffu) | 0x800000u;
    }
    let nearest = (digits + ((1u << (shift - 1u)) - 1u) + ((digits >> shift) & 1u)) >> shift;
    if exponent < least {
        return sign | nearest;
    }
    return sign | min(nearest - ((127u - params.bias) << params.mantissa), params.largest);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let word = gid.x + gid.y * workgroups.x * 64u;
    if word >= params.words {
        return;
    }
    let scale = bitcast<f32>(out[params.words]);
    var codes = 0u;
    for (var place = 0u; place < 4u && word * 4u + place < params.n; place++) {
        let i = word * 4u + place;
        codes |= encode(x[i] / scale) << (place * 8u);
    }
    out[word] = codes;
}
