// Matrix product in half-precision arithmetic, of halves wherever they lie: `c[i, j] = f((accumulate ? c[i, j] : 0) +
// sum_k a[i, k] * b[k, j] + bias[j])`, as `matmul` has it; `bias` and `c` are in fp32. See `parts/matmul_half`.
//
// Before it stand `parts/half`, `parts/matmul`, `parts/matmul_result`, `parts/matmul_half`.
// CPU twin: engine/src/exec/cpu/matmul_half.rs

@group(0) @binding(0) var<storage, read> a: array<f16>;
@group(0) @binding(1) var<storage, read> b: array<f16>;

const TERMS: vec4<u32> = vec4<u32>(0u, 1u, 2u, 3u);

// Where the terms of rows of `a` begin.
fn terms_of_a(batch: u32, rows: vec4<u32>) -> vec4<u32> {
    return params.a_offset + batch * params.a_batch + rows * params.a_row_stride;
}

fn terms_of_b(batch: u32, cols: vec4<u32>) -> vec4<u32> {
    return params.b_offset + batch * params.b_batch + cols * params.b_col_stride;
}

// Four terms from k on; those beyond the last are nothing.
fn quad_of_a(row: u32, k: u32) -> vec4<f16> {
    let at = row + min(k + TERMS, vec4<u32>(params.k - 1u)) * params.a_col_stride;
    return select(vec4<f16>(), vec4<f16>(a[at.x], a[at.y], a[at.z], a[at.w]), k + TERMS < vec4<u32>(params.k));
}

fn quad_of_b(col: u32, k: u32) -> vec4<f16> {
    let at = col + min(k + TERMS, vec4<u32>(params.k - 1u)) * params.b_row_stride;
    return select(vec4<f16>(), vec4<f16>(b[at.x], b[at.y], b[at.z], b[at.w]), k + TERMS < vec4<u32>(params.k));
}
