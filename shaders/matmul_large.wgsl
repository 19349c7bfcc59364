// The matrix product of `matmul`, in tiles of 128 by 128 that a workgroup of 256 computes from slices in its memory, 8 by
// 8 in the registers of each: two times four rows and columns that lie half a tile apart, so that neighbours read
// neighbours.
//
// Before it stand `parts/matmul`, `parts/matmul_result`, `parts/matmul_tiles`.
// CPU twin: engine/src/exec/cpu/matmul.rs

const TILE: u32 = 128u;
const DEPTH: u32 = 8u;

var<workgroup> a_tile: array<f32, 1024>;
var<workgroup> b_tile: array<f32, 1024>;

@compute @workgroup_size(16, 16)
fn main(@builtin(local_invocation_id) lid: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
    let thread = lid.y * 16u + lid.x;
    let first_row = group.y * TILE;
    let first_col = group.x * TILE;
    var upper_left = mat4x4<f32>();
    var upper_right = mat4x4<f32>();
    var lower_left = mat4x4<f32>();
    var lower_right = mat4x4<f32>();
    for (var k0 = 0u; k0 < params.k; k0 += DEPTH) {
        load(thread, first_row, first_col, k0, group.z);
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let upper = four_a(k * TILE + lid.y * 4u);
            let lower = four_a(k * TILE + 64u + lid.y * 4u);
            let left = four_b(k * TILE + lid.x * 4u);
            let right = four_b(k * TILE + 64u + lid.x * 4u);
            upper_left += outer(upper, left);
            upper_right += outer(upper, right);
            lower_left += outer(lower, left);
            lower_right += outer(lower, right);
        }
        workgroupBarrier();
    }
    let c0 = params.c_offset + group.z * params.c_batch;
    let row = first_row + lid.y * 4u;
    let col = first_col + lid.x * 4u;
    store_block(c0, row, col, upper_left);
    store_block(c0, row, col + 64u, upper_right);
    store_block(c0, row + 64u, col, lower_left);
    store_block(c0, row + 64u, col + 64u, lower_right);
}

fn store_block(c0: u32, row: u32, col: u32, sums: mat4x4<f32>) {
    store(c0, row, col, sums[0]);
    store(c0, row + 1u, col, sums[1]);
    store(c0, row + 2u, col, sums[2]);
    store(c0, row + 3u, col, sums[3]);
}
