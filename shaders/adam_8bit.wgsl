// One AdamW update whose moments lie in eight bits with a scale for every block of 2048 elements (Dettmers et al. 2022,
// "8-bit optimizers via block-wise quantization").
//
// Moments are widened, updated and applied as `adamw` does, then divided by the largest of their block and put into the
// nearest of the numbers that eight bits stand for: powers of ten, each with an even spread of digits, fewer for smaller
// ones (section 1.3, "dynamic tree quantization"). `m` and `v` hold four codes in a word, `scales` those of both moments
// for each block. A workgroup has a block, an invocation two words of it.
//
// Before it stands `parts/update`.
// CPU twin: engine/src/exec/cpu/adam_8bit.rs

struct Params {
    n: u32,
    decayed: u32,
}

@group(0) @binding(0) var<storage, read> grad: array<f32>;
@group(0) @binding(1) var<storage, read> norm_sq: array<f32>;
@group(0) @binding(2) var<storage, read> hyper: array<f32>;
@group(0) @binding(3) var<storage, read_write> param: array<f32>;
@group(0) @binding(4) var<storage, read_write> m: array<u32>;
@group(0) @binding(5) var<storage, read_write> v: array<u32>;
@group(0) @binding(6) var<storage, read_write> scales: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

const BLOCK: u32 = 2048u;
const LANES: u32 = 256u;

var<workgroup> largest: array<vec2<f32>, LANES>;

fn ten_to(power: u32) -> f32 {
    switch power {
        case 0u: { return 1e-6; }
        case 1u: { return 1e-5; }
        case 2u: { return 1e-4; }
        case 3u: { return 1e-3; }
        case 4u: { return 1e-2; }
        case 5u: { return 1e-1; }
        default: { return 1.0; }
    }
}

// The magnitudes in their order; `wider` is 1 for the unsigned ones, of which there are twice as many.
fn magnitude(rank: u32, last: u32, wider: u32) -> f32 {
    if rank == 0u || rank == last {
        return select(1.0, 0.0, rank == 0u);
    }
    let cell = rank + wider;
    let bits = firstLeadingBit(cell);
    let digits = 1u << bits;
    return ten_to(bits - wider) * (0.1 + 0.9 * (f32(cell - digits) + 0.5) / f32(digits));
}

fn signed_value(code: u32) -> f32 {
    if code == 0x80u {
        return 1.0;
    }
    let size = magnitude(code & 0x7fu, 128u, 0u);
    return select(size, -size, code > 0x80u);
}

// The nearest magnitude below `last` or it.
fn nearest(size: f32, most: u32, last: u32, wider: u32) -> u32 {
    var low = 0u;
    var high = most;
    while low < high {
        let middle = (low + high + 1u) / 2u;
        let border = (magnitude(middle - 1u, last, wider) + magnitude(middle, last, wider)) * 0.5;
        if size >= border {
            low = middle;
        } else {
            high = middle - 1u;
        }
    }
    return low;
}

fn signed_code(value: f32) -> u32 {
    let negative = value < 0.0;
    let low = nearest(abs(value), select(128u, 127u, negative), 128u, 0u);
    return select(low, low | 0x80u, negative && low > 0u);
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = workgroup.x + workgroup.y * workgroups.x;
    if block * BLOCK >= params.n || !is_finite(norm_sq[0]) {
        return;
    }
    let factor = gradient_factor(hyper[7], hyper[8], norm_sq[0]);
    let m_scale = scales[2u * block];
    let v_scale = scales[2u * block + 1u];
    var means: array<f32, 8>;
    var squares: array<f32, 8>;
    var most = vec2(0.0);
    for (var k = 0u; k < 8u; k++) {
        let word = block * (BLOCK / 4u) + lane + k / 4u * LANES;
        let i = word * 4u + k % 4u;
        if i < params.n {
            let shift = k % 4u * 8u;
            let g = grad[i] * factor;
            let old_mean = signed_value((m[word] >> shift) & 0xffu) * m_scale;
            let old_square = magnitude((v[word] >> shift) & 0xffu, 255u, 1u) * v_scale;
            let mean = hyper[1] * old_mean + (1.0 - hyper[1]) * g;
            let square = hyper[2] * old_square + (1.0 - hyper[2]) * g * g;
            let step = mean / hyper[5] / (sqrt(square / hyper[6]) + hyper[3]);
            let before = param[i];
            param[i] = before - hyper[0] * (step + select(0.0, hyper[4], i < params.decayed) * before);
            means[k] = mean;
            squares[k] = square;
            most = max(most, vec2(abs(mean), square));
        }
    }
    largest[lane] = most;
    for (var half_width = LANES / 2u; half_width > 0u; half_width /= 2u) {
        workgroupBarrier();
        if lane < half_width {
            largest[lane] = max(largest[lane], largest[lane + half_width]);
        }
    }
    workgroupBarrier();
    let of_block = largest[0];
    for (var half = 0u; half < 2u; half++) {
        let word = block * (BLOCK / 4u) + lane + half * LANES;
        var codes = vec2(0u);
        for (var place = 0u; place < 4u && word * 4u + place < params.n; place++) {
            let k = half * 4u + place;
            let share = vec2(means[k], squares[k]) / select(of_block, vec2(1.0), of_block == vec2(0.0));
            codes |= vec2(signed_code(share.x), nearest(share.y, 255u, 255u, 1u)) << vec2(place * 8u);
        }
        if word * 4u < params.n {
            m[word] = codes.x;
            v[word] = codes.y;
        }
    }
    if lane == 0u {
        scales[2u * block] = of_block.x;
        scales[2u * block + 1u] = of_block.y;
    }
}
