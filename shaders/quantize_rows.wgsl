// Integers of eight bits with a scale for each row: `out[r, k / 4]` gets `round(x[r, k] / scales[r])`, four in a word, to the
// nearest, ties to even. A scale is the least power of two with which the row lies within ±127, so that dividing by it is
// exact on every device; a row of zeros has 1. What is not finite does not count, and becomes ±127 or 0.
//
// `x` is `[rows, cols]` by strides, so that columns of a matrix can be rows here; `out` is `[rows, ceil(cols / 4)]`.
//
// CPU twin: engine/src/exec/cpu/quantize_rows.rs

struct Params {
    rows: u32,
    cols: u32,
    row_stride: u32,
    col_stride: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
@group(0) @binding(2) var<storage, read_write> scales: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let r = gid.x + gid.y * workgroups.x * 64u;
    if r >= params.rows {
        return;
    }
    // Magnitudes are in the order of their bits.
    var largest = 0u;
    for (var k = 0u; k < params.cols; k++) {
        let size = bitcast<u32>(x[r * params.row_stride + k * params.col_stride]) & 0x7fffffffu;
        largest = select(largest, max(largest, size), size < 0x7f800000u);
    }
    let most = bitcast<u32>(127.0);
    let beyond = select(0u, 1u, (largest & 0x7fffffu) > (most & 0x7fffffu));
    let exponent = max((largest >> 23u) + beyond + 127u, most >> 23u) - (most >> 23u);
    let scale = bitcast<f32>(select(clamp(exponent, 1u, 254u) << 23u, 0x3f800000u, (largest >> 23u) == 0u));
    scales[r] = scale;

    let words = (params.cols + 3u) / 4u;
    for (var word = 0u; word < words; word++) {
        var codes = 0u;
        for (var place = 0u; place < 4u && word * 4u + place < params.cols; place++) {
            let k = word * 4u + place;
            let value = x[r * params.row_stride + k * params.col_stride];
            // Neither a comparison nor a conversion of what is no number is defined.
            let is_number = (bitcast<u32>(value) & 0x7fffffffu) <= 0x7f800000u;
            let integer = i32(select(0.0, clamp(round(value / scale), -127.0, 127.0), is_number));
            codes |= (bitcast<u32>(integer) & 0xffu) << (place * 8u);
        }
        out[r * words + word] = codes;
    }
}
