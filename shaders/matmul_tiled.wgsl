// The matrix product of `matmul`, in tiles of 64 by 64 that a workgroup of 256 computes from slices in its memory, 4 by 4
// in the registers of each.
//
// CPU twin: engine/src/exec/cpu/matmul.rs

struct Params {
    m: u32,
    n: u32,
    k: u32,
    a_row_stride: u32,
    a_col_stride: u32,
    b_row_stride: u32,
    b_col_stride: u32,
    accumulate: u32,
    has_bias: u32,
    a_offset: u32,
    b_offset: u32,
    c_offset: u32,
    a_batch: u32,
    b_batch: u32,
    c_batch: u32,
    batches: u32,
}

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

const TILE: u32 = 64u;
const DEPTH: u32 = 16u;

var<workgroup> a_tile: array<f32, 1024>;
var<workgroup> b_tile: array<f32, 1024>;

// Every invocation brings four elements of each operand to the workgroup's memory. Neighbours read neighbours: along the
// sums where rows of an operand are contiguous, else across them. Beyond the ends of the sums there are zeros.
fn load(thread: u32, first_row: u32, first_col: u32, k0: u32, batch: u32) {
    let a0 = params.a_offset + batch * params.a_batch;
    let b0 = params.b_offset + batch * params.b_batch;
    let along = vec2<u32>(thread / (DEPTH / 4u), thread % (DEPTH / 4u) * 4u);
    let across = vec2<u32>(thread % (TILE / 4u) * 4u, thread / (TILE / 4u));
    let a_along = params.a_col_stride == 1u;
    let b_along = params.b_row_stride == 1u;
    for (var x = 0u; x < 4u; x++) {
        let at_a = select(across + vec2<u32>(x, 0u), along + vec2<u32>(0u, x), a_along);
        let row = min(first_row + at_a.x, params.m - 1u);
        let ak = min(k0 + at_a.y, params.k - 1u);
        let from_a = a[a0 + row * params.a_row_stride + ak * params.a_col_stride];
        a_tile[at_a.y * TILE + at_a.x] = select(0.0, from_a, k0 + at_a.y < params.k);
        let at_b = select(across + vec2<u32>(x, 0u), along + vec2<u32>(0u, x), b_along);
        let col = min(first_col + at_b.x, params.n - 1u);
        let bk = min(k0 + at_b.y, params.k - 1u);
        let from_b = b[b0 + bk * params.b_row_stride + col * params.b_col_stride];
        b_tile[at_b.y * TILE + at_b.x] = select(0.0, from_b, k0 + at_b.y < params.k);
    }
}

fn four_a(at: u32) -> vec4<f32> {
    return vec4<f32>(a_tile[at], a_tile[at + 1u], a_tile[at + 2u], a_tile[at + 3u]);
}

fn four_b(at: u32) -> vec4<f32> {
    return vec4<f32>(b_tile[at], b_tile[at + 1u], b_tile[at + 2u], b_tile[at + 3u]);
}

// Four rows of four columns.
fn outer(x: vec4<f32>, y: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(x.x * y, x.y * y, x.z * y, x.w * y);
}

@compute @workgroup_size(16, 16)
fn main(@builtin(local_invocation_id) lid: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
    let thread = lid.y * 16u + lid.x;
    let first_row = group.y * TILE;
    let first_col = group.x * TILE;
    var sums = mat4x4<f32>();
    for (var k0 = 0u; k0 < params.k; k0 += DEPTH) {
        load(thread, first_row, first_col, k0, group.z);
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            sums += outer(four_a(k * TILE + lid.y * 4u), four_b(k * TILE + lid.x * 4u));
        }
        workgroupBarrier();
    }
    let c0 = params.c_offset + group.z * params.c_batch;
    let row = first_row + lid.y * 4u;
    let col = first_col + lid.x * 4u;
    store(c0, row, col, sums[0]);
    store(c0, row + 1u, col, sums[1]);
    store(c0, row + 2u, col, sums[2]);
    store(c0, row + 3u, col, sums[3]);
}

fn store(c0: u32, i: u32, col: u32, sums: vec4<f32>) {
    if i >= params.m {
        return;
    }
    for (var x = 0u; x < 4u && col + x < params.n; x++) {
        let j = col + x;
        var sum = sums[x];
        if params.accumulate == 1u {
            sum += c[c0 + i * params.n + j];
        }
        if params.has_bias == 1u {
            sum += bias[j];
        }
        c[c0 + i * params.n + j] = sum;
    }
}
