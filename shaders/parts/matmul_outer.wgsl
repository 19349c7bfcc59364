// How products are added up whose invocations have 16 columns, four in each column of a matrix.

// Four columns of b.
fn four_b(at: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(b[at.x], b[at.y], b[at.z], b[at.w]);
}

// A row of c, of which a column of the matrix has four elements.
fn outer(x: f32, y: mat4x4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(x * y[0], x * y[1], x * y[2], x * y[3]);
}
