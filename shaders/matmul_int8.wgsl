// Product of integers of eight bits: `c[i, j] = f((accumulate ? c[i, j] : 0) + a_scales[i] * b_scales[j] * sum_k a[i, k] *
// b[j, k] + bias[j])`, as `quantize_rows` has written them, four in a word: it takes rows out of a matrix or its transpose.
// The sums are exact: in 32 bits, for up to 133 144 terms. Bias and `f` are there as the bits of `epilogue` say.
//
// `a` is `[batches, m, words]`, `b` is `[batches, n, words]`: a row for each column of the product; `c` is `[batches, m, n]`;
// scales are `[batches, m]` and `[batches, n]`. An invocation computes 4 rows by 4 columns in registers, four terms at once.
//
// Before it stands `parts/matmul_result`.
// CPU twin: engine/src/exec/cpu/matmul_int8.rs

struct Params {
    m: u32,
    n: u32,
    words: u32,
    accumulate: u32,
    epilogue: u32,
    batches: u32,
}

@group(0) @binding(0) var<storage, read> a: array<u32>;
@group(0) @binding(1) var<storage, read> b: array<u32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> a_scales: array<f32>;
@group(0) @binding(5) var<storage, read> b_scales: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

fn products(x: u32, y: vec4<u32>) -> vec4<i32> {
    return vec4<i32>(dot4I8Packed(x, y.x), dot4I8Packed(x, y.y), dot4I8Packed(x, y.z), dot4I8Packed(x, y.w));
}

// The sums of a row with their scales.
fn scaled(sums: vec4<i32>, row: u32, scales: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(sums) * (a_scales[row] * scales);
}

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) gid: vec3<u32>) {
    let row = gid.y * 4u;
    let col = gid.x * 4u;
    if row >= params.m || col >= params.n {
        return;
    }
    // What lies beyond the edge is computed from the last row and dropped.
    let row_of = gid.z * params.m + min(vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.m - 1u));
    let col_of = gid.z * params.n + min(vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.n - 1u));
    let rows = row_of * params.words;
    let cols = col_of * params.words;
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
    let scales = vec4<f32>(b_scales[col_of.x], b_scales[col_of.y], b_scales[col_of.z], b_scales[col_of.w]);
    let c0 = gid.z * params.m * params.n;
    store(c0, row, col, scaled(s0, row_of.x, scales));
    store(c0, row + 1u, col, scaled(s1, row_of.y, scales));
    store(c0, row + 2u, col, scaled(s2, row_of.z, scales));
    store(c0, row + 3u, col, scaled(s3, row_of.w, scales));
}
