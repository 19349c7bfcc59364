// The matrix product of `matmul` for devices on which eight invocations are one vector and nothing is shared: a workgroup of
// eight has 16 rows, the same in all of them, so that a number of `a` is read once for all eight, and 16 columns each.
//
// Before it stand `parts/matmul`, `parts/matmul_result`, `parts/matmul_outer`.
// CPU twin: engine/src/exec/cpu/matmul.rs

const ROWS: u32 = 16u;
const COLS: u32 = 16u;
const LANES: u32 = 8u;

@compute @workgroup_size(8)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let row = group.y * ROWS;
    let col = (group.x * LANES + lane) * COLS;
    // Rows and columns beyond the edge are computed from the last one and dropped.
    let a0 = params.a_offset + group.z * params.a_batch;
    let b0 = params.b_offset + group.z * params.b_batch;
    let last_row = vec4<u32>(params.m - 1u);
    let last_col = vec4<u32>(params.n - 1u);
    let four = vec4<u32>(0u, 1u, 2u, 3u);
    let rows_0 = a0 + min(row + 0u + four, last_row) * params.a_row_stride;
    let rows_1 = a0 + min(row + 4u + four, last_row) * params.a_row_stride;
    let rows_2 = a0 + min(row + 8u + four, last_row) * params.a_row_stride;
    let rows_3 = a0 + min(row + 12u + four, last_row) * params.a_row_stride;
    let cols_0 = b0 + min(col + 0u + four, last_col) * params.b_col_stride;
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
    var sum_8 = mat4x4<f32>();
    var sum_9 = mat4x4<f32>();
    var sum_10 = mat4x4<f32>();
    var sum_11 = mat4x4<f32>();
    var sum_12 = mat4x4<f32>();
    var sum_13 = mat4x4<f32>();
    var sum_14 = mat4x4<f32>();
    var sum_15 = mat4x4<f32>();
    for (var k = 0u; k < params.k; k++) {
        let ak = k * params.a_col_stride;
        let bk = k * params.b_row_stride;
        let y = mat4x4<f32>(four_b(cols_0 + bk), four_b(cols_1 + bk), four_b(cols_2 + bk), four_b(cols_3 + bk));
        sum_0 += outer(a[rows_0.x + ak], y);
        sum_1 += outer(a[rows_0.y + ak], y);
        sum_2 += outer(a[rows_0.z + ak], y);
        sum_3 += outer(a[rows_0.w + ak], y);
        sum_4 += outer(a[rows_1.x + ak], y);
        sum_5 += outer(a[rows_1.y + ak], y);
        sum_6 += outer(a[rows_1.z + ak], y);
        sum_7 += outer(a[rows_1.w + ak], y);
        sum_8 += outer(a[rows_2.x + ak], y);
        sum_9 += outer(a[rows_2.y + ak], y);
        sum_10 += outer(a[rows_2.z + ak], y);
        sum_11 += outer(a[rows_2.w + ak], y);
        sum_12 += outer(a[rows_3.x + ak], y);
        sum_13 += outer(a[rows_3.y + ak], y);
        sum_14 += outer(a[rows_3.z + ak], y);
        sum_15 += outer(a[rows_3.w + ak], y);
    }

    // They are written in a loop, since what is done to a sum on its way is long; places in it are found by number, which
    // those in registers have not.
    var written = array<mat4x4<f32>, ROWS>(
        sum_0, sum_1, sum_2, sum_3, sum_4, sum_5, sum_6, sum_7, sum_8, sum_9, sum_10, sum_11, sum_12, sum_13, sum_14, sum_15,
    );
    let c0 = params.c_offset + group.z * params.c_batch;
    for (var four = 0u; four < ROWS * 4u; four++) {
        store(c0, row + four / 4u, col + four % 4u * 4u, written[four / 4u][four % 4u]);
    }
}
