enable f16;

// Matrix product in half-precision arithmetic: `c[i, j] = sum_k a[i, k] * b[j, k]`. Sixteen products are added up in f16, and
// these sums in f32, so that long sums stay as precise as short ones.
//
// `a` is `[m, quads]`, `b` is `[n, quads]`, of four halves each: a row for each column of the product; `c` is `[m, n]`.
// An invocation computes 4 rows by 4 columns in registers.
//
// CPU twin: engine/src/exec/cpu/matmul_half.rs

struct Params {
    m: u32,
    n: u32,
    quads: u32,
}

@group(0) @binding(0) var<storage, read> a: array<vec4<f16>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

fn products(x: vec4<f16>, y0: vec4<f16>, y1: vec4<f16>, y2: vec4<f16>, y3: vec4<f16>) -> vec4<f16> {
    return vec4<f16>(dot(x, y0), dot(x, y1), dot(x, y2), dot(x, y3));
}

fn store(row: u32, col: u32, sums: vec4<f32>) {
    if row >= params.m {
        return;
    }
    for (var x = 0u; x < 4u && col + x < params.n; x++) {
        c[row * params.n + col + x] = sums[x];
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
    let rows = min(vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.m - 1u)) * params.quads;
    let cols = min(vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.n - 1u)) * params.quads;
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    for (var first = 0u; first < params.quads; first += 4u) {
        var p0 = vec4<f16>();
        var p1 = vec4<f16>();
        var p2 = vec4<f16>();
        var p3 = vec4<f16>();
        for (var k = first; k < min(first + 4u, params.quads); k++) {
            let y0 = b[cols.x + k];
            let y1 = b[cols.y + k];
            let y2 = b[cols.z + k];
            let y3 = b[cols.w + k];
            p0 += products(a[rows.x + k], y0, y1, y2, y3);
            p1 += products(a[rows.y + k], y0, y1, y2, y3);
            p2 += products(a[rows.z + k], y0, y1, y2, y3);
            p3 += products(a[rows.w + k], y0, y1, y2, y3);
        }
        s0 += vec4<f32>(p0);
        s1 += vec4<f32>(p1);
        s2 += vec4<f32>(p2);
        s3 += vec4<f32>(p3);
    }
    store(row, col, s0);
    store(row + 1u, col, s1);
    store(row + 2u, col, s2);
    store(row + 3u, col, s3);
}
