// The matrix product of `matmul`, for small results of long sums: the 64 invocations of a workgroup share the sums of 8
// rows by 4 columns, every 64th term each, and add up what they have as a tree.
//
// Before it stand `parts/matmul`, `parts/matmul_result`.
// CPU twin: engine/src/exec/cpu/matmul.rs

const LANES: u32 = 64u;
const ROWS: u32 = 8u;
const COLS: u32 = 4u;

// A row of the result for each lane.
var<workgroup> terms: array<vec4<f32>, 512>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let row = group.y * ROWS;
    let col = group.x * COLS;
    // Rows and columns beyond the edge are computed from the last one and dropped.
    let a0 = params.a_offset + group.z * params.a_batch;
    let b0 = params.b_offset + group.z * params.b_batch;
    let last = vec4<u32>(params.m - 1u);
    let four = vec4<u32>(0u, 1u, 2u, 3u);
    let upper = a0 + min(row + four, last) * params.a_row_stride;
    let lower = a0 + min(row + 4u + four, last) * params.a_row_stride;
    let cols = b0 + min(col + four, vec4<u32>(params.n - 1u)) * params.b_col_stride;
    var top = mat4x4<f32>();
    var bottom = mat4x4<f32>();
    for (var k = lane; k < params.k; k += LANES) {
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
    for (var r = 0u; r < 4u; r++) {
        terms[r * LANES + lane] = top[r];
        terms[(r + 4u) * LANES + lane] = bottom[r];
    }
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lane < half {
            for (var r = 0u; r < ROWS; r++) {
                terms[r * LANES + lane] += terms[r * LANES + lane + half];
            }
        }
        workgroupBarrier();
    }
    if lane < ROWS {
        store(params.c_offset + group.z * params.c_batch, row + lane, col, terms[lane * LANES]);
    }
}
