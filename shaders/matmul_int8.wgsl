// Product of integers of eight bits: `c[i, j] = a_scales[i] * b_scales[j] * sum_k a[i, k] * b[j, k]`, as `quantize_rows` has
// written them, four in a word. The sums are exact: in 32 bits, for up to 133 144 terms.
//
// `a` is `[m, words]`, `b` is `[n, words]`: a row for each column of the product; `c` is `[m, n]`.
// An invocation computes 4 rows by 4 columns in registers, four terms at once.
//
// CPU twin: engine/src/exec/cpu/matmul_int8.rs

struct Params {
    m: u32,
    n: u32,
    words: u32,
}

@group(0) @binding(0) var<storage, read> a: array<u32>;
@group(0) @binding(1) var<storage, read> a_scales: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<u32>;
@group(0) @binding(3) var<storage, read> b_scales: array<f32>;
@group(0) @binding(4) var<storage, read_write> c: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

fn products(x: u32, y: vec4<u32>) -> vec4<i32> {
    return vec4<i32>(dot4I8Packed(x, y.x), dot4I8Packed(x, y.y), dot4I8Packed(x, y.z), dot4I8Packed(x, y.w));
}

fn store(row: u32, col: u32, sums: vec4<i32>) {
    if row >= params.m {
        return;
    }
    for (var x = 0u; x < 4u && col + x < params.n; x++) {
        c[row * params.n + col + x] = f32(sums[x]) * (a_scales[row] * b_scales[col + x]);
    }
}

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) gid: vec3<u32>) {
    let row = gid.y * 4u;
    let col = gid.x * 4u;
    if row >= params.m || col >= params.n {
        return;
    }
    // What lies beyond the edge is computed from the last row and dropped.
    let rows = min(vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.m - 1u)) * params.words;
    let cols = min(vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.n - 1u)) * params.words;
    var s0 = vec4<i32>();
    var s1 = vec4<i32>();
    var s2 = vec4<i32>();
    var s3 = vec4<i32>();
    for (var k = 0u; k < params.words; k++) {
        let y = vec4<u32>(b[cols.x + k], b[cols.y + k], b[cols.z + k], b[cols.w + k]);
        s0 += products(a[rows.x + k], y);
        s1 += products(a[rows.y + k], y);
        s2 += products(a[rows.z + k], y);
        s3 += products(a[rows.w + k], y);
    }
    store(row, col, s0);
    store(row + 1u, col, s1);
    store(row + 2u, col, s2);
    store(row + 3u, col, s3);
}
