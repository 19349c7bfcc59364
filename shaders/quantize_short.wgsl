// Numbers in four bits (NVIDIA 2025, "Pretraining large language models with NVFP4", section 2): every 16 have a scale in
// E4M3, the least with which their largest is at most six times it, and all have one, which stands behind the last word
// already. Codes lie in the lower halves of bytes, a block's scale in the upper ones of its first two.
//
// Only products that are exact are compared, so that no device rounds otherwise. An invocation has a block.
//
// Before it stands `parts/formats`.
// CPU twin: engine/src/exec/cpu/quantize_short.rs

struct Params {
    n: u32,
    words: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

// The number halfway from a code's to the next.
fn halfway(code: u32) -> f32 {
    return (from_e2m1_blocks(code) + from_e2m1_blocks(code + 1u)) * 0.5;
}

fn code_of(value: f32, unit: f32) -> u32 {
    let bits = bitcast<u32>(value);
    if (bits & 0x7fffffffu) > 0x7f800000u {
        return 0u;
    }
    var code = 0u;
    for (var next = 0u; next < 7u; next++) {
        let border = halfway(next) * unit;
        // Of two that are as near, the even one.
        if abs(value) < border || (abs(value) == border && next % 2u == 0u) {
            break;
        }
        code = next + 1u;
    }
    return select(code, code | 8u, code > 0u && (bits >> 31u) == 1u);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let first = (gid.x + gid.y * workgroups.x * 64u) * 16u;
    if first >= params.n {
        return;
    }
    let end = min(first + 16u, params.n);
    var largest = 0u;
    for (var i = first; i < end; i++) {
        let size = bitcast<u32>(x[i]) & 0x7fffffffu;
        // What is too small to be a normal number is nothing on some devices.
        largest = select(largest, max(largest, size), size >= 0x00800000u && size < 0x7f800000u);
    }
    let scale = bitcast<f32>(out[params.words]);
    var low = 0u;
    var high = 0x7eu;
    while low < high {
        let middle = (low + high) / 2u;
        if from_e4m3(middle) * scale * 6.0 >= bitcast<f32>(largest) {
            high = middle;
        } else {
            low = middle + 1u;
        }
    }
    let unit = from_e4m3(low) * scale;
    for (var word = first / 4u; word * 4u < end; word++) {
        var bytes = 0u;
        for (var place = 0u; place < 4u && word * 4u + place < end; place++) {
            bytes |= code_of(x[word * 4u + place], unit) << (place * 8u);
        }
        if word * 4u == first {
            bytes |= ((low & 15u) << 4u) | ((low >> 4u) << 12u);
        }
        out[word] = bytes;
    }
}
