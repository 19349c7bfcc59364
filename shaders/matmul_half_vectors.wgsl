// The same as `matmul_half` where the terms of sums are neighbours in both factors, and begin at multiples of four: four halves
// at once.
//
// Before it stand `parts/half`, `parts/matmul`, `parts/matmul_result`, `parts/matmul_half`.
// CPU twin: engine/src/exec/cpu/matmul_half.rs

@group(0) @binding(0) var<storage, read> a: array<vec4<f16>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<f16>>;

// Where the terms of rows of `a` begin.
fn terms_of_a(batch: u32, rows: vec4<u32>) -> vec4<u32> {
    return (params.a_offset + batch * params.a_batch + rows * params.a_row_stride) / 4u;
}

fn terms_of_b(batch: u32, cols: vec4<u32>) -> vec4<u32> {
    return (params.b_offset + batch * params.b_batch + cols * params.b_col_stride) / 4u;
}

fn quad_of_a(row: u32, k: u32) -> vec4<f16> {
    return a[row + k / 4u];
}

fn quad_of_b(col: u32, k: u32) -> vec4<f16> {
    return b[col + k / 4u];
}
