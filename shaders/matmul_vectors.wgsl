// The matrix product of `matmul`, in tiles of 64 by 128 that a workgroup of 128 computes, 8 by 8 in the registers of each.
// What comes next is read while what is there is computed, four numbers at a time: rows of a factor begin at multiples of
// four.
//
// What is beyond the ends of the sums is zero; what is beyond the edges is computed from the last rows and dropped.
//
// Before it stand `parts/matmul`, `parts/matmul_result`.
// CPU twin: engine/src/exec/cpu/matmul.rs

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;

// Whose neighbours in memory are those along the sums: 1 of `a`, 2 of `b`. The pipeline sets it.
const ALONG: u32 = 0u;
const A_ALONG: bool = (ALONG & 1u) != 0u;
const B_ALONG: bool = (ALONG & 2u) != 0u;

const ROWS: u32 = 64u;
const COLS: u32 = 128u;
const DEPTH: u32 = 16u;
const THREADS: u32 = 128u;

// Two of each: one that is computed, one that is filled. Four rows, or columns, of a place along the sums are neighbours.
var<workgroup> a_tile: array<vec4<f32>, 512>;
var<workgroup> b_tile: array<vec4<f32>, 1024>;

// The place of four neighbours of a tile across the sums and along them.
fn place(index: u32, along: bool, side: u32) -> vec2<u32> {
    if along {
        return vec2<u32>(index / (DEPTH / 4u), index % (DEPTH / 4u) * 4u);
    }
    return vec2<u32>(index % (side / 4u) * 4u, index / (side / 4u));
}

// The last four that there are, or the last one.
fn inside(at: u32, quads: bool, all: u32) -> u32 {
    return min(at, all - select(1u, 4u, quads));
}

// Where four numbers of a factor lie at the beginning of its sums, in fours; and how far it is to the next place along them.
fn first_of_a(index: u32, first_row: u32, batch: u32) -> u32 {
    let row = inside(first_row + place(index, A_ALONG, ROWS).x, !A_ALONG, params.m);
    return (params.a_offset + batch * params.a_batch + row * params.a_row_stride) / 4u;
}

fn first_of_b(index: u32, first_col: u32, batch: u32) -> u32 {
    let col = inside(first_col + place(index, B_ALONG, COLS).x, !B_ALONG, params.n);
    return (params.b_offset + batch * params.b_batch + col * params.b_col_stride) / 4u;
}

fn load_a(first: u32, index: u32, k0: u32) -> vec4<f32> {
    let along = k0 + place(index, A_ALONG, ROWS).y;
    let k = inside(along, A_ALONG, params.k);
    return select(vec4<f32>(), a[first + k * params.a_col_stride / 4u], along < params.k);
}

fn load_b(first: u32, index: u32, k0: u32) -> vec4<f32> {
    let along = k0 + place(index, B_ALONG, COLS).y;
    let k = inside(along, B_ALONG, params.k);
    return select(vec4<f32>(), b[first + k * params.b_row_stride / 4u], along < params.k);
}

fn keep_a(tile: u32, index: u32, four: vec4<f32>) {
    let at = place(index, A_ALONG, ROWS);
    let first = tile * 256u + at.y * (ROWS / 4u) + at.x / 4u;
    if A_ALONG {
        a_tile[first][at.x % 4u] = four.x;
        a_tile[first + ROWS / 4u][at.x % 4u] = four.y;
        a_tile[first + ROWS / 2u][at.x % 4u] = four.z;
        a_tile[first + ROWS / 4u * 3u][at.x % 4u] = four.w;
    } else {
        a_tile[first] = four;
    }
}

fn keep_b(tile: u32, index: u32, four: vec4<f32>) {
    let at = place(index, B_ALONG, COLS);
    let first = tile * 512u + at.y * (COLS / 4u) + at.x / 4u;
    if B_ALONG {
        b_tile[first][at.x % 4u] = four.x;
        b_tile[first + COLS / 4u][at.x % 4u] = four.y;
        b_tile[first + COLS / 2u][at.x % 4u] = four.z;
        b_tile[first + COLS / 4u * 3u][at.x % 4u] = four.w;
    } else {
        b_tile[first] = four;
    }
}

@compute @workgroup_size(128)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let first_row = group.y * ROWS;
    let first_col = group.x * COLS;
    let y = thread / 16u;
    let x = thread % 16u;
    var left0 = vec4<f32>();
    var right0 = vec4<f32>();
    var left1 = vec4<f32>();
    var right1 = vec4<f32>();
    var left2 = vec4<f32>();
    var right2 = vec4<f32>();
    var left3 = vec4<f32>();
    var right3 = vec4<f32>();
    var left4 = vec4<f32>();
    var right4 = vec4<f32>();
    var left5 = vec4<f32>();
    var right5 = vec4<f32>();
    var left6 = vec4<f32>();
    var right6 = vec4<f32>();
    var left7 = vec4<f32>();
    var right7 = vec4<f32>();
    let a0_first = first_of_a(thread + 0u * THREADS, first_row, group.z);
    let a1_first = first_of_a(thread + 1u * THREADS, first_row, group.z);
    let b0_first = first_of_b(thread + 0u * THREADS, first_col, group.z);
    let b1_first = first_of_b(thread + 1u * THREADS, first_col, group.z);
    let b2_first = first_of_b(thread + 2u * THREADS, first_col, group.z);
    let b3_first = first_of_b(thread + 3u * THREADS, first_col, group.z);
    var a0: vec4<f32>;
    var a1: vec4<f32>;
    var b0: vec4<f32>;
    var b1: vec4<f32>;
    var b2: vec4<f32>;
    var b3: vec4<f32>;
    a0 = load_a(a0_first, thread + 0u * THREADS, 0u);
    a1 = load_a(a1_first, thread + 1u * THREADS, 0u);
    b0 = load_b(b0_first, thread + 0u * THREADS, 0u);
    b1 = load_b(b1_first, thread + 1u * THREADS, 0u);
    b2 = load_b(b2_first, thread + 2u * THREADS, 0u);
    b3 = load_b(b3_first, thread + 3u * THREADS, 0u);
    keep_a(0u, thread + 0u * THREADS, a0);
    keep_a(0u, thread + 1u * THREADS, a1);
    keep_b(0u, thread + 0u * THREADS, b0);
    keep_b(0u, thread + 1u * THREADS, b1);
    keep_b(0u, thread + 2u * THREADS, b2);
    keep_b(0u, thread + 3u * THREADS, b3);
    workgroupBarrier();
    var tile = 0u;
    for (var next = DEPTH; next < params.k + DEPTH; next += DEPTH) {
        let more = next < params.k;
        if more {
            a0 = load_a(a0_first, thread + 0u * THREADS, next);
            a1 = load_a(a1_first, thread + 1u * THREADS, next);
            b0 = load_b(b0_first, thread + 0u * THREADS, next);
            b1 = load_b(b1_first, thread + 1u * THREADS, next);
            b2 = load_b(b2_first, thread + 2u * THREADS, next);
            b3 = load_b(b3_first, thread + 3u * THREADS, next);
        }
        // unroll
        for (var k = 0u; k < 16u; k++) {
            let upper = a_tile[tile * 256u + k * 16u + y];
            let lower = a_tile[tile * 256u + k * 16u + y + 8u];
            let left = b_tile[tile * 512u + k * 32u + x];
            let right = b_tile[tile * 512u + k * 32u + x + 16u];
            left0 = fma(vec4<f32>(upper.x), left, left0);
            right0 = fma(vec4<f32>(upper.x), right, right0);
            left1 = fma(vec4<f32>(upper.y), left, left1);
            right1 = fma(vec4<f32>(upper.y), right, right1);
            left2 = fma(vec4<f32>(upper.z), left, left2);
            right2 = fma(vec4<f32>(upper.z), right, right2);
            left3 = fma(vec4<f32>(upper.w), left, left3);
            right3 = fma(vec4<f32>(upper.w), right, right3);
            left4 = fma(vec4<f32>(lower.x), left, left4);
            right4 = fma(vec4<f32>(lower.x), right, right4);
            left5 = fma(vec4<f32>(lower.y), left, left5);
            right5 = fma(vec4<f32>(lower.y), right, right5);
            left6 = fma(vec4<f32>(lower.z), left, left6);
            right6 = fma(vec4<f32>(lower.z), right, right6);
            left7 = fma(vec4<f32>(lower.w), left, left7);
            right7 = fma(vec4<f32>(lower.w), right, right7);
        }
        tile = 1u - tile;
        if more {
            keep_a(tile, thread + 0u * THREADS, a0);
            keep_a(tile, thread + 1u * THREADS, a1);
            keep_b(tile, thread + 0u * THREADS, b0);
            keep_b(tile, thread + 1u * THREADS, b1);
            keep_b(tile, thread + 2u * THREADS, b2);
            keep_b(tile, thread + 3u * THREADS, b3);
        }
        workgroupBarrier();
    }
    let c0 = params.c_offset + group.z * params.c_batch;
    let row = first_row + y * 4u;
    let col = first_col + x * 4u;
    store(c0, row, col, left0);
    store(c0, row, col + 64u, right0);
    store(c0, row + 1u, col, left1);
    store(c0, row + 1u, col + 64u, right1);
    store(c0, row + 2u, col, left2);
    store(c0, row + 2u, col + 64u, right2);
    store(c0, row + 3u, col, left3);
    store(c0, row + 3u, col + 64u, right3);
    store(c0, row + 32u, col, left4);
    store(c0, row + 32u, col + 64u, right4);
    store(c0, row + 33u, col, left5);
    store(c0, row + 33u, col + 64u, right5);
    store(c0, row + 34u, col, left6);
    store(c0, row + 34u, col + 64u, right6);
    store(c0, row + 35u, col, left7);
    store(c0, row + 35u, col + 64u, right7);
}
