// The matrix product of `matmul`, in tiles of 64 by 64 that a workgroup of 256 computes from slices in its memory, 4 by 4
// in the registers of each.
//
// Before it stand `parts/matmul`, `parts/matmul_result`, `parts/matmul_tiles`.
// CPU twin: engine/src/exec/cpu/matmul.rs

const TILE: u32 = 64u;
const DEPTH: u32 = 16u;

var<workgroup> a_tile: array<f32, 1024>;
var<workgroup> b_tile: array<f32, 1024>;

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
