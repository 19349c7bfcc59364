// What `matmul_broadcast` reads where it reads number by number, of any factors: of four rows one each, in the first column of
// a matrix; of a row one, in the first place of its column.

// Places along the sums that are read at once.
const STEP: u32 = 1u;

// What an invocation reads for all of its subgroup.
fn own_of_a(row: u32, k: u32, lane: u32, batch: u32) -> f32 {
    let at = params.a_offset + batch * params.a_batch + min(row + lane, params.m - 1u) * params.a_row_stride;
    return a[at + k * params.a_col_stride];
}

// Four numbers as the beginnings of four columns.
fn placed(x: vec4<f32>) -> mat4x4<f32> {
    let none = vec3<f32>();
    return mat4x4<f32>(vec4<f32>(x.x, none), vec4<f32>(x.y, none), vec4<f32>(x.z, none), vec4<f32>(x.w, none));
}

fn first_rows(own: f32) -> mat4x4<f32> {
    return placed(vec4<f32>(
        subgroupBroadcast(own, 0u), subgroupBroadcast(own, 1u), subgroupBroadcast(own, 2u), subgroupBroadcast(own, 3u),
    ));
}

fn last_rows(own: f32) -> mat4x4<f32> {
    return placed(vec4<f32>(
        subgroupBroadcast(own, 4u), subgroupBroadcast(own, 5u), subgroupBroadcast(own, 6u), subgroupBroadcast(own, 7u),
    ));
}

fn cols_at(col: u32, k: u32, batch: u32) -> mat4x4<f32> {
    let row = params.b_offset + batch * params.b_batch + k * params.b_row_stride;
    let cols = min(vec4<u32>(col, col + 1u, col + 2u, col + 3u), vec4<u32>(params.n - 1u));
    let at = row + cols * params.b_col_stride;
    let none = vec4<f32>();
    return mat4x4<f32>(vec4<f32>(b[at.x], b[at.y], b[at.z], b[at.w]), none, none, none);
}

// What a row of `a` adds to four columns of `c`.
fn along(x: vec4<f32>, columns: mat4x4<f32>) -> vec4<f32> {
    return x.x * columns[0];
}
