// Numbers as integers of eight bits with a scale for each block of 256, as gradients travel (Wang et al. 2023, "ZeRO++",
// section 3.3): a row of `codes` has 64 words of four integers and the scale, the least power of two with which the block
// lies within ±127, so that dividing by it is exact on every device. Integers are the nearest, ties to even. A block with
// something that is not finite has an infinite scale, so that none of it is finite behind. Rows behind the last number are
// zero.
//
// A workgroup has a block, an invocation a word of it.
//
// CPU twin: engine/src/exec/cpu/narrow_blocks.rs

struct Params {
    n: u32,
    rows: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> codes: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

const LANES: u32 = 64u;
const INFINITE: u32 = 0x7f800000u;

var<workgroup> lanes: array<u32, LANES>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = workgroup.x + workgroup.y * workgroups.x;
    if row >= params.rows {
        return;
    }
    let first = row * 256u + lane * 4u;
    var values = vec4(0.0);
    var sizes = vec4(0u);
    for (var place = 0u; place < 4u && first + place < params.n; place++) {
        let value = x[first + place];
        values[place] = value;
        // Magnitudes are in the order of their bits, what is not finite behind all others.
        sizes[place] = bitcast<u32>(value) & 0x7fffffffu;
    }
    lanes[lane] = max(max(sizes.x, sizes.y), max(sizes.z, sizes.w));
    for (var half_width = LANES / 2u; half_width > 0u; half_width /= 2u) {
        workgroupBarrier();
        if lane < half_width {
            lanes[lane] = max(lanes[lane], lanes[lane + half_width]);
        }
    }
    workgroupBarrier();
    let largest = lanes[0];
    let most = bitcast<u32>(127.0);
    let beyond = select(0u, 1u, (largest & 0x7fffffu) > (most & 0x7fffffu));
    let exponent = max((largest >> 23u) + beyond + 127u, most >> 23u) - (most >> 23u);
    var scale = select(clamp(exponent, 1u, 254u) << 23u, 0x3f800000u, (largest >> 23u) == 0u);
    var word = 0u;
    if largest >= INFINITE {
        scale = INFINITE;
    } else {
        for (var place = 0u; place < 4u; place++) {
            let integer = i32(clamp(round(values[place] / bitcast<f32>(scale)), -127.0, 127.0));
            word |= (bitcast<u32>(integer) & 0xffu) << (place * 8u);
        }
    }
    codes[row * 65u + lane] = word;
    if lane == 0u {
        codes[row * 65u + 64u] = scale;
    }
}
