// The matrix product of `matmul` by cooperative matrices of 16 by 16, on matrix units: of halves, added up in fp32. A
// workgroup of four times 32 invocations computes 128 rows by 128 columns, 64 by 64 of them each 32.
//
// What is beyond the ends of the sums is zero; what is beyond the edges is computed from the last rows and dropped.
//
// Before it stand `parts/cooperative`, `parts/matmul`, `parts/matmul_result`.
// CPU twin: engine/src/exec/cpu/matmul.rs

// Whose neighbours in memory are those along the sums: 1 of `a`, 2 of `b`. The pipeline sets it.
const ALONG: u32 = 0u;

const TILE: u32 = 128u;
const DEPTH: u32 = 32u;
// Rows of a tile begin in other banks than those above them.
const SHORT: u32 = (DEPTH + 8u) / 4u;
const LONG: u32 = (TILE + 8u) / 4u;

var<workgroup> a_tile: array<vec4<f16>, 1280>;
var<workgroup> b_tile: array<vec4<f16>, 1280>;
var<workgroup> result: array<f32, 1024>;

// Four neighbours of a tile: their place across the sums and along them, and where they lie in the tile.
fn place(index: u32, along: bool) -> vec3<u32> {
    if along {
        let across = index / (DEPTH / 4u);
        let quad = index % (DEPTH / 4u);
        return vec3<u32>(across, quad * 4u, across * SHORT + quad);
    }
    let quad = index % (TILE / 4u);
    let k = index / (TILE / 4u);
    return vec3<u32>(quad * 4u, k, k * LONG + quad);
}

// The last four that there are, or fewer.
fn inside(at: u32, quads: bool, all: u32) -> u32 {
    return min(at, all - select(1u, 4u, quads));
}

fn load(thread: u32, first_row: u32, first_col: u32, k0: u32, batch: u32) {
    let a_along = (ALONG & 1u) != 0u;
    let b_along = (ALONG & 2u) != 0u;
    let a0 = params.a_offset + batch * params.a_batch;
    let b0 = params.b_offset + batch * params.b_batch;
    for (var x = 0u; x < 8u; x++) {
        let at_a = place(thread + x * 128u, a_along);
        let row = inside(first_row + at_a.x, !a_along, params.m);
        let ak = inside(k0 + at_a.y, a_along, params.k);
        let from_a = a[(a0 + row * params.a_row_stride + ak * params.a_col_stride) / 4u];
        a_tile[at_a.z] = select(vec4<f16>(), from_a, k0 + at_a.y < params.k);
        let at_b = place(thread + x * 128u, b_along);
        let col = inside(first_col + at_b.x, !b_along, params.n);
        let bk = inside(k0 + at_b.y, b_along, params.k);
        let from_b = b[(b0 + bk * params.b_row_stride + col * params.b_col_stride) / 4u];
        b_tile[at_b.z] = select(vec4<f16>(), from_b, k0 + at_b.y < params.k);
    }
}

// A part of a tile of `a`, or of `b`, from a row or column and a place along the sums on.
fn part_of_a(row: u32, k: u32) -> coop_mat16x16<f16, A> {
    if (ALONG & 1u) != 0u {
        return coopLoadT<coop_mat16x16<f16, A>>(&a_tile[row * SHORT + k / 4u], SHORT);
    }
    return coopLoad<coop_mat16x16<f16, A>>(&a_tile[k * LONG + row / 4u], LONG);
}

fn part_of_b(k: u32, col: u32) -> coop_mat16x16<f16, B> {
    if (ALONG & 2u) != 0u {
        return coopLoad<coop_mat16x16<f16, B>>(&b_tile[col * SHORT + k / 4u], SHORT);
    }
    return coopLoadT<coop_mat16x16<f16, B>>(&b_tile[k * LONG + col / 4u], LONG);
}

@compute @workgroup_size(128)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let first_row = group.y * TILE;
    let first_col = group.x * TILE;
    let unit = thread / 32u;
    let row = unit / 2u * 64u;
    let col = unit % 2u * 64u;
    var c00 = coop_mat16x16<f32, C>();
    var c01 = coop_mat16x16<f32, C>();
    var c02 = coop_mat16x16<f32, C>();
    var c03 = coop_mat16x16<f32, C>();
    var c10 = coop_mat16x16<f32, C>();
    var c11 = coop_mat16x16<f32, C>();
    var c12 = coop_mat16x16<f32, C>();
    var c13 = coop_mat16x16<f32, C>();
    var c20 = coop_mat16x16<f32, C>();
    var c21 = coop_mat16x16<f32, C>();
    var c22 = coop_mat16x16<f32, C>();
    var c23 = coop_mat16x16<f32, C>();
    var c30 = coop_mat16x16<f32, C>();
    var c31 = coop_mat16x16<f32, C>();
    var c32 = coop_mat16x16<f32, C>();
    var c33 = coop_mat16x16<f32, C>();
    for (var k0 = 0u; k0 < params.k; k0 += DEPTH) {
        load(thread, first_row, first_col, k0, group.z);
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k += 16u) {
            let a0 = part_of_a(row + 0u, k);
            let a1 = part_of_a(row + 16u, k);
            let a2 = part_of_a(row + 32u, k);
            let a3 = part_of_a(row + 48u, k);
            let b0 = part_of_b(k, col + 0u);
            let b1 = part_of_b(k, col + 16u);
            let b2 = part_of_b(k, col + 32u);
            let b3 = part_of_b(k, col + 48u);
            c00 = coopMultiplyAdd(a0, b0, c00);
            c01 = coopMultiplyAdd(a0, b1, c01);
            c02 = coopMultiplyAdd(a0, b2, c02);
            c03 = coopMultiplyAdd(a0, b3, c03);
            c10 = coopMultiplyAdd(a1, b0, c10);
            c11 = coopMultiplyAdd(a1, b1, c11);
            c12 = coopMultiplyAdd(a1, b2, c12);
            c13 = coopMultiplyAdd(a1, b3, c13);
            c20 = coopMultiplyAdd(a2, b0, c20);
            c21 = coopMultiplyAdd(a2, b1, c21);
            c22 = coopMultiplyAdd(a2, b2, c22);
            c23 = coopMultiplyAdd(a2, b3, c23);
            c30 = coopMultiplyAdd(a3, b0, c30);
            c31 = coopMultiplyAdd(a3, b1, c31);
            c32 = coopMultiplyAdd(a3, b2, c32);
            c33 = coopMultiplyAdd(a3, b3, c33);
        }
        workgroupBarrier();
    }
    let c0 = params.c_offset + group.z * params.c_batch;
    let first = unit * 256u;
    let width = 16u;
    // By way of memory, since nobody knows which invocation has which of the sums. What a store reads must have been
    // computed in a statement before it: naga forgets it otherwise.
    var stored = 0u;
    let sums00 = c00;
    stored = 0u;
    coopStoreT(sums00, &result[first], width);
    write(c0, first_row + row + 0u, first_col + col + 0u, thread);
    let sums01 = c01;
    stored = 1u;
    coopStoreT(sums01, &result[first], width);
    write(c0, first_row + row + 0u, first_col + col + 16u, thread);
    let sums02 = c02;
    stored = 2u;
    coopStoreT(sums02, &result[first], width);
    write(c0, first_row + row + 0u, first_col + col + 32u, thread);
    let sums03 = c03;
    stored = 3u;
    coopStoreT(sums03, &result[first], width);
    write(c0, first_row + row + 0u, first_col + col + 48u, thread);
    let sums10 = c10;
    stored = 4u;
    coopStoreT(sums10, &result[first], width);
    write(c0, first_row + row + 16u, first_col + col + 0u, thread);
    let sums11 = c11;
    stored = 5u;
    coopStoreT(sums11, &result[first], width);
    write(c0, first_row + row + 16u, first_col + col + 16u, thread);
    let sums12 = c12;
    stored = 6u;
    coopStoreT(sums12, &result[first], width);
    write(c0, first_row + row + 16u, first_col + col + 32u, thread);
    let sums13 = c13;
    stored = 7u;
    coopStoreT(sums13, &result[first], width);
    write(c0, first_row + row + 16u, first_col + col + 48u, thread);
    let sums20 = c20;
    stored = 8u;
    coopStoreT(sums20, &result[first], width);
    write(c0, first_row + row + 32u, first_col + col + 0u, thread);
    let sums21 = c21;
    stored = 9u;
    coopStoreT(sums21, &result[first], width);
    write(c0, first_row + row + 32u, first_col + col + 16u, thread);
    let sums22 = c22;
    stored = 10u;
    coopStoreT(sums22, &result[first], width);
    write(c0, first_row + row + 32u, first_col + col + 32u, thread);
    let sums23 = c23;
    stored = 11u;
    coopStoreT(sums23, &result[first], width);
    write(c0, first_row + row + 32u, first_col + col + 48u, thread);
    let sums30 = c30;
    stored = 12u;
    coopStoreT(sums30, &result[first], width);
    write(c0, first_row + row + 48u, first_col + col + 0u, thread);
    let sums31 = c31;
    stored = 13u;
    coopStoreT(sums31, &result[first], width);
    write(c0, first_row + row + 48u, first_col + col + 16u, thread);
    let sums32 = c32;
    stored = 14u;
    coopStoreT(sums32, &result[first], width);
    write(c0, first_row + row + 48u, first_col + col + 32u, thread);
    let sums33 = c33;
    stored = 15u;
    coopStoreT(sums33, &result[first], width);
    write(c0, first_row + row + 48u, first_col + col + 48u, thread);
}

// Writes 16 by 16 sums, of which each invocation has two times four neighbours.
fn write(c0: u32, row: u32, col: u32, thread: u32) {
    workgroupBarrier();
    let first = thread / 32u * 256u;
    let lane = thread % 32u;
    for (var x = 0u; x < 2u; x++) {
        let at = lane * 8u + x * 4u;
        let sums = vec4<f32>(result[first + at], result[first + at + 1u], result[first + at + 2u], result[first + at + 3u]);
        store(c0, row + at / 16u, col + at % 16u, sums);
    }
    workgroupBarrier();
}
