// The matrix product of `matmul` for devices whose subgroups are eight invocations. A subgroup has 16 rows of `c`, each of its
// invocations eight columns. What is read of `a` is read once for all: every invocation reads for a row of its own, and shows
// the others what it has. On software, where a read is a loop over the invocations, that is what counts.
//
// Rows and columns beyond the edges are computed from the last ones and dropped.
//
// Before it stand `parts/matmul`, and how it reads and writes: `parts/matmul_fours` with `parts/matmul_broadcast_vectors` and
// `parts/matmul_result_fours`, or `parts/matmul_buffers` with `parts/matmul_broadcast_numbers` and `parts/matmul_result`.
// CPU twin: engine/src/exec/cpu/matmul.rs

const ROWS: u32 = 16u;
const COLS: u32 = 8u;
const LANES: u32 = 8u;

@compute @workgroup_size(8)
fn main(@builtin(subgroup_invocation_id) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let row = group.y * ROWS;
    let col = (group.x * LANES + lane) * COLS;
    let batch = group.z;
    // Two vectors of four columns for each row.
    var sums = array<vec4<f32>, 32>();
    for (var k = 0u; k < params.k; k += STEP) {
        let c0 = cols_at(col, k, batch);
        let c1 = cols_at(col + 4u, k, batch);
        // unroll
        for (var r = 0u; r < 2u; r++) {
            let own = own_of_a(row + r * 8u, k, lane, batch);
            let first = first_rows(own);
            sums[r * 16u + 0u] += along(first[0], c0);
            sums[r * 16u + 1u] += along(first[0], c1);
            sums[r * 16u + 2u] += along(first[1], c0);
            sums[r * 16u + 3u] += along(first[1], c1);
            sums[r * 16u + 4u] += along(first[2], c0);
            sums[r * 16u + 5u] += along(first[2], c1);
            sums[r * 16u + 6u] += along(first[3], c0);
            sums[r * 16u + 7u] += along(first[3], c1);
            let last = last_rows(own);
            sums[r * 16u + 8u] += along(last[0], c0);
            sums[r * 16u + 9u] += along(last[0], c1);
            sums[r * 16u + 10u] += along(last[1], c0);
            sums[r * 16u + 11u] += along(last[1], c1);
            sums[r * 16u + 12u] += along(last[2], c0);
            sums[r * 16u + 13u] += along(last[2], c1);
            sums[r * 16u + 14u] += along(last[3], c0);
            sums[r * 16u + 15u] += along(last[3], c1);
        }
    }

    // They are written in a loop, since what is done to a sum on its way is long; places in it are found by number, which
    // those in registers have not.
    var written = sums;
    let c0 = params.c_offset + batch * params.c_batch;
    for (var four = 0u; four < ROWS * 2u; four++) {
        store(c0, row + four / 2u, col + four % 2u * 4u, written[four]);
    }
}
