// The matrix product of `matmul`, with 8 rows by 16 columns in the registers of an invocation: fewer reads for each
// multiplication, more registers.
//
// Before it stand `parts/matmul`, `parts/matmul_result`, `parts/matmul_outer`.
// CPU twin: engine/src/exec/cpu/matmul.rs

const ROWS: u32 = 8u;
const COLS: u32 = 16u;

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) gid: vec3<u32>) {
    let row = gid.y * ROWS;
    let col = gid.x * COLS;
    if row >= params.m || col >= params.n {
        return;
    }
    // Rows and columns beyond the edge are computed from the last one and dropped.
    let a0 = params.a_offset + gid.z * params.a_batch;
    let b0 = params.b_offset + gid.z * params.b_batch;
    let last_row = vec4<u32>(params.m - 1u);
    let last_col = vec4<u32>(params.n - 1u);
    let four = vec4<u32>(0u, 1u, 2u, 3u);
    let upper = a0 + min(row + four, last_row) * params.a_row_stride;
    let lower = a0 + min(row + 4u + four, last_row) * params.a_row_stride;
    let cols_0 = b0 + min(col + four, last_col) * params.b_col_stride;
    let cols_1 = b0 + min(col + 4u + four, last_col) * params.b_col_stride;
    let cols_2 = b0 + min(col + 8u + four, last_col) * params.b_col_stride;
    let cols_3 = b0 + min(col + 12u + four, last_col) * params.b_col_stride;

    var sum_0 = mat4x4<f32>();
    var sum_1 = mat4x4<f32>();
    var sum_2 = mat4x4<f32>();
    var sum_3 = mat4x4<f32>();
    var sum_4 = mat4x4<f32>();
    var sum_5 = mat4x4<f32>();
    var sum_6 = mat4x4<f32>();
    var sum_7 = mat4x4<f32>();
    for (var k = 0u; k < params.k; k++) {
        let ak = k * params.a_col_stride;
        let bk = k * params.b_row_stride;
        let y = mat4x4<f32>(four_b(cols_0 + bk), four_b(cols_1 + bk), four_b(cols_2 + bk), four_b(cols_3 + bk));
        sum_0 += outer(a[upper.x + ak], y);
        sum_1 += outer(a[upper.y + ak], y);
        sum_2 += outer(a[upper.z + ak], y);
        sum_3 += outer(a[upper.w + ak], y);
        sum_4 += outer(a[lower.x + ak], y);
        sum_5 += outer(a[lower.y + ak], y);
        sum_6 += outer(a[lower.z + ak], y);
        sum_7 += outer(a[lower.w + ak], y);
    }

    let c0 = params.c_offset + gid.z * params.c_batch;
    store_row(c0, row + 0u, col, sum_0);
    store_row(c0, row + 1u, col, sum_1);
    store_row(c0, row + 2u, col, sum_2);
    store_row(c0, row + 3u, col, sum_3);
    store_row(c0, row + 4u, col, sum_4);
    store_row(c0, row + 5u, col, sum_5);
    store_row(c0, row + 6u, col, sum_6);
    store_row(c0, row + 7u, col, sum_7);
}

fn store_row(c0: u32, i: u32, col: u32, sums: mat4x4<f32>) {
    store(c0, i, col, sums[0]);
    store(c0, i, col + 4u, sums[1]);
    store(c0, i, col + 8u, sums[2]);
    store(c0, i, col + 12u, sums[3]);
}
