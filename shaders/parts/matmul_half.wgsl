// Matrix product in half-precision arithmetic: sixteen products are added up in f16, and these sums in f32, so that long sums
// stay as precise as short ones. An invocation computes 4 rows by 4 columns in registers.
//
// What stands behind it says how four terms of a row of `a`, and of a column of `b`, are read: `quad_of_a`, `quad_of_b`; and
// what they are called with: `terms_of_a`, `terms_of_b`.

fn products(x: vec4<f16>, y: array<vec4<f16>, 4>) -> vec4<f16> {
    return vec4<f16>(dot(x, y[0]), dot(x, y[1]), dot(x, y[2]), dot(x, y[3]));
}

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) gid: vec3<u32>) {
    let row = gid.y * 4u;
    let col = gid.x * 4u;
    if row >= params.m || col >= params.n {
        return;
    }
    // What lies beyond the edge is computed from the last row and dropped.
    let rows = terms_of_a(gid.z, min(vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.m - 1u)));
    let cols = terms_of_b(gid.z, min(vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.n - 1u)));
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    for (var first = 0u; first < params.k; first += 16u) {
        var p0 = vec4<f16>();
        var p1 = vec4<f16>();
        var p2 = vec4<f16>();
        var p3 = vec4<f16>();
        for (var k = first; k < min(first + 16u, params.k); k += 4u) {
            let y = array<vec4<f16>, 4>(
                quad_of_b(cols.x, k), quad_of_b(cols.y, k), quad_of_b(cols.z, k), quad_of_b(cols.w, k),
            );
            p0 += products(quad_of_a(rows.x, k), y);
            p1 += products(quad_of_a(rows.y, k), y);
            p2 += products(quad_of_a(rows.z, k), y);
            p3 += products(quad_of_a(rows.w, k), y);
        }
        s0 += vec4<f32>(p0);
        s1 += vec4<f32>(p1);
        s2 += vec4<f32>(p2);
        s3 += vec4<f32>(p3);
    }
    let c0 = params.c_offset + gid.z * params.c_batch;
    store(c0, row, col, s0);
    store(c0, row + 1u, col, s1);
    store(c0, row + 2u, col, s2);
    store(c0, row + 3u, col, s3);
}
