// Matrix product: `c[i, j] = f((accumulate ? c[i, j] : 0) + sum_k a[i, k] * b[k, j] + bias[j])`, where bias and `f`, an
// activation, are there as the bits of `epilogue` say.
//
// `c` is `[m, n]`, dense and row-major; `a` and `b` are addressed by strides, so one kernel serves all transposes.
// Without a bias any buffer may be bound in its place.
// Several products with the same shapes lie at equal distances: `batches` of them, from the offsets on.
// An invocation of the shader computes 8 rows by 4 columns in registers.
// It uses no workgroup memory, which is the slowest there is on a software GPU.
//
// Before it stand `parts/matmul`, `parts/matmul_result`.
// CPU twin: engine/src/exec/cpu/matmul.rs

const ROWS: u32 = 8u;
const COLS: u32 = 4u;

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) gid: vec3<u32>) {
    let row = gid.y * ROWS;
    let col = gid.x * COLS;
    if row >= params.m || col >= params.n {
        return;
    }
    // Rows and columns beyond the edge are computed from the last one and dropped.
    let last = vec4<u32>(params.m - 1u);
    let a0 = params.a_offset + gid.z * params.a_batch;
    let b0 = params.b_offset + gid.z * params.b_batch;
    let upper = a0 + min(vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u), last) * params.a_row_stride;
    let lower = a0 + min(vec4<u32>(row) + vec4<u32>(4u, 5u, 6u, 7u), last) * params.a_row_stride;
    let cols = b0 + min(vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.n - 1u)) * params.b_col_stride;

    // A column of these matrices is a row of c: eight vectors that no compiler moves out of registers.
    var top = mat4x4<f32>();
    var bottom = mat4x4<f32>();
    for (var k = 0u; k < params.k; k++) {
        let ak = k * params.a_col_stride;
        let bk = cols + k * params.b_row_stride;
        let y = vec4<f32>(b[bk.x], b[bk.y], b[bk.z], b[bk.w]);
        top += mat4x4<f32>(
            a[upper.x + ak] * y, a[upper.y + ak] * y, a[upper.z + ak] * y, a[upper.w + ak] * y,
        );
        bottom += mat4x4<f32>(
            a[lower.x + ak] * y, a[lower.y + ak] * y, a[lower.z + ak] * y, a[lower.w + ak] * y,
        );
    }

    let c0 = params.c_offset + gid.z * params.c_batch;
    store(c0, row, col, top[0]);
    store(c0, row + 1u, col, top[1]);
    store(c0, row + 2u, col, top[2]);
    store(c0, row + 3u, col, top[3]);
    store(c0, row + 4u, col, bottom[0]);
    store(c0, row + 5u, col, bottom[1]);
    store(c0, row + 6u, col, bottom[2]);
    store(c0, row + 7u, col, bottom[3]);
}
