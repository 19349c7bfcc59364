// What `matmul_broadcast` reads where it reads four numbers at once, before which `parts/matmul_fours` stands.

// Places along the sums that are read at once.
const STEP: u32 = 4u;

// What an invocation reads for all of its subgroup: of a row of `a` four places along the sums, or of four rows one.
fn own_of_a(row: u32, k: u32, lane: u32, batch: u32) -> vec4<f32> {
    if A_ALONG {
        return a[(row_of_a(row + lane, batch) + k) / 4u];
    }
    let at = k + lane % 4u;
    let four = row_of_a(min(row + lane / 4u * 4u, params.m - 4u), batch);
    return select(vec4<f32>(), a[(four + min(at, params.k - 1u) * params.a_col_stride) / 4u], at < params.k);
}

// A row in each column.
fn placed(x: mat4x4<f32>) -> mat4x4<f32> {
    if A_ALONG {
        return x;
    }
    return transpose(x);
}

fn first_rows(own: vec4<f32>) -> mat4x4<f32> {
    return placed(mat4x4<f32>(
        subgroupBroadcast(own, 0u), subgroupBroadcast(own, 1u), subgroupBroadcast(own, 2u), subgroupBroadcast(own, 3u),
    ));
}

fn last_rows(own: vec4<f32>) -> mat4x4<f32> {
    return placed(mat4x4<f32>(
        subgroupBroadcast(own, 4u), subgroupBroadcast(own, 5u), subgroupBroadcast(own, 6u), subgroupBroadcast(own, 7u),
    ));
}

// What a row of `a` adds to four columns of `c`.
fn along(x: vec4<f32>, columns: mat4x4<f32>) -> vec4<f32> {
    return columns * x;
}
