// The matrix product of `matmul_rows`, which reads four numbers at once: rows of a factor begin at multiples of four.
//
// What is beyond the edges is computed from the last rows and dropped.
//
// Before it stand `parts/matmul_fours`, `parts/matmul`, `parts/matmul_result`.
// CPU twin: engine/src/exec/cpu/matmul.rs

const ROWS: u32 = 8u;
const COLS: u32 = 16u;
const LANES: u32 = 8u;

// Four rows of `a` at four places along the sums, a row in each column.
fn rows_at(row: u32, k: u32, batch: u32) -> mat4x4<f32> {
    if A_ALONG {
        return mat4x4<f32>(
            a[(row_of_a(row, batch) + k) / 4u],
            a[(row_of_a(row + 1u, batch) + k) / 4u],
            a[(row_of_a(row + 2u, batch) + k) / 4u],
            a[(row_of_a(row + 3u, batch) + k) / 4u],
        );
    }
    let first = row_of_a(min(row, params.m - 4u), batch);
    let places = min(vec4<u32>(k, k + 1u, k + 2u, k + 3u), vec4<u32>(params.k - 1u)) * params.a_col_stride;
    return transpose(mat4x4<f32>(
        a[(first + places.x) / 4u],
        select(vec4<f32>(), a[(first + places.y) / 4u], k + 1u < params.k),
        select(vec4<f32>(), a[(first + places.z) / 4u], k + 2u < params.k),
        select(vec4<f32>(), a[(first + places.w) / 4u], k + 3u < params.k),
    ));
}

// What a row of `a` adds to 16 columns of `c`, four in each column of the matrix.
fn along(x: vec4<f32>, c0: mat4x4<f32>, c1: mat4x4<f32>, c2: mat4x4<f32>, c3: mat4x4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(c0 * x, c1 * x, c2 * x, c3 * x);
}

@compute @workgroup_size(8)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let row = group.y * ROWS;
    let col = (group.x * LANES + lane) * COLS;
    let batch = group.z;
    var sums = array<mat4x4<f32>, ROWS>();
    for (var k = 0u; k < params.k; k += 4u) {
        let c0 = cols_at(col, k, batch);
        let c1 = cols_at(col + 4u, k, batch);
        let c2 = cols_at(col + 8u, k, batch);
        let c3 = cols_at(col + 12u, k, batch);
        // unroll
        for (var r = 0u; r < 2u; r++) {
            let rows = rows_at(row + r * 4u, k, batch);
            sums[r * 4u] += along(rows[0], c0, c1, c2, c3);
            sums[r * 4u + 1u] += along(rows[1], c0, c1, c2, c3);
            sums[r * 4u + 2u] += along(rows[2], c0, c1, c2, c3);
            sums[r * 4u + 3u] += along(rows[3], c0, c1, c2, c3);
        }
    }

    // They are written in a loop, since what is done to a sum on its way is long; places in it are found by number, which
    // those in registers have not.
    var written = sums;
    let c0 = params.c_offset + batch * params.c_batch;
    for (var four = 0u; four < ROWS * 4u; four++) {
        store(c0, row + four / 4u, col + four % 4u * 4u, written[four / 4u][four % 4u]);
    }
}
