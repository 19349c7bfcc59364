// What matrix products by tiles share; `TILE`, `DEPTH`, `a_tile` and `b_tile` are those of the shader.

// Every invocation brings four elements of each operand to the workgroup's memory. Neighbours read neighbours: along the
// sums where rows of an operand are contiguous, else across them. Beyond the ends of the sums there are zeros.
fn load(thread: u32, first_row: u32, first_col: u32, k0: u32, batch: u32) {
    let a0 = params.a_offset + batch * params.a_batch;
    let b0 = params.b_offset + batch * params.b_batch;
    let along = vec2<u32>(thread / (DEPTH / 4u), thread % (DEPTH / 4u) * 4u);
    let across = vec2<u32>(thread % (TILE / 4u) * 4u, thread / (TILE / 4u));
    let a_along = params.a_col_stride == 1u;
    let b_along = params.b_row_stride == 1u;
    for (var x = 0u; x < 4u; x++) {
        let at_a = select(across + vec2<u32>(x, 0u), along + vec2<u32>(0u, x), a_along);
        let row = min(first_row + at_a.x, params.m - 1u);
        let ak = min(k0 + at_a.y, params.k - 1u);
        let from_a = a[a0 + row * params.a_row_stride + ak * params.a_col_stride];
        a_tile[at_a.y * TILE + at_a.x] = select(0.0, from_a, k0 + at_a.y < params.k);
        let at_b = select(across + vec2<u32>(x, 0u), along + vec2<u32>(0u, x), b_along);
        let col = min(first_col + at_b.x, params.n - 1u);
        let bk = min(k0 + at_b.y, params.k - 1u);
        let from_b = b[b0 + bk * params.b_row_stride + col * params.b_col_stride];
        b_tile[at_b.y * TILE + at_b.x] = select(0.0, from_b, k0 + at_b.y < params.k);
    }
}

fn four_a(at: u32) -> vec4<f32> {
    return vec4<f32>(a_tile[at], a_tile[at + 1u], a_tile[at + 2u], a_tile[at + 3u]);
}

fn four_b(at: u32) -> vec4<f32> {
    return vec4<f32>(b_tile[at], b_tile[at + 1u], b_tile[at + 2u], b_tile[at + 3u]);
}

// Four rows of four columns.
fn outer(x: vec4<f32>, y: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(x.x * y, x.y * y, x.z * y, x.w * y);
}
