// Where a matrix product reads four numbers at once: rows of a factor begin at multiples of four. What is beyond the
// edges, and of `b` beyond the ends of the sums, is what lies at the last place; of `a` it is zero.

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;

// Whose neighbours in memory are those along the sums: 1 of `a`, 2 of `b`. The pipeline sets it.
const ALONG: u32 = 0u;
const A_ALONG: bool = (ALONG & 1u) != 0u;
const B_ALONG: bool = (ALONG & 2u) != 0u;

// Where a row of `a`, or the four from it on, begins; and a column of `b`.
fn row_of_a(row: u32, batch: u32) -> u32 {
    return params.a_offset + batch * params.a_batch + min(row, params.m - 1u) * params.a_row_stride;
}

fn col_of_b(col: u32, batch: u32) -> u32 {
    return params.b_offset + batch * params.b_batch + min(col, params.n - 1u) * params.b_col_stride;
}

// Four columns of `b` at four places along the sums, a place in each column.
fn cols_at(col: u32, k: u32, batch: u32) -> mat4x4<f32> {
    if B_ALONG {
        return transpose(mat4x4<f32>(
            b[(col_of_b(col, batch) + k) / 4u],
            b[(col_of_b(col + 1u, batch) + k) / 4u],
            b[(col_of_b(col + 2u, batch) + k) / 4u],
            b[(col_of_b(col + 3u, batch) + k) / 4u],
        ));
    }
    let first = col_of_b(min(col, params.n - 4u), batch);
    let places = min(vec4<u32>(k, k + 1u, k + 2u, k + 3u), vec4<u32>(params.k - 1u)) * params.b_row_stride;
    return mat4x4<f32>(
        b[(first + places.x) / 4u], b[(first + places.y) / 4u], b[(first + places.z) / 4u], b[(first + places.w) / 4u],
    );
}
