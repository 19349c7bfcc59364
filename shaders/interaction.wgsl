// How the vectors of a sample meet: beside each other, or the dense one and all dot products of two, `(v, w)` with `v > w` in the
// order of `v` and then of `w` (Naumov et al. 2019, section 2.1.3).
//
// `dense` has a row for each sample, `vectors` one for each sample and table, by the `ranks` that have
// the tables.
//
// CPU twin: engine/src/exec/cpu/interaction.rs

struct Params {
    batch: u32,
    cols: u32,
    tables: u32,
    products: u32,
    ranks: u32,
}

@group(0) @binding(0) var<storage, read> dense: array<f32>;
@group(0) @binding(1) var<storage, read> vectors: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

// The row of a sample's vector of a table: by the rank that has the table, then by sample.
fn row_of(s: u32, table: u32) -> u32 {
    let own = params.tables / params.ranks;
    return (table / own * params.batch + s) * own + table % own;
}

// Element `j` of vector `v` of sample `s`: first the dense one, then those of the tables.
fn vector(s: u32, v: u32, j: u32) -> f32 {
    if v == 0u {
        return dense[s * params.cols + j];
    }
    return vectors[row_of(s, v - 1u) * params.cols + j];
}

fn width() -> u32 {
    if params.products == 1u {
        return params.cols + (params.tables + 1u) * params.tables / 2u;
    }
    return (params.tables + 1u) * params.cols;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.batch * width() {
        return;
    }
    let s = i / width();
    let at = i % width();
    if params.products == 0u || at < params.cols {
        out[i] = vector(s, at / params.cols, at % params.cols);
        return;
    }
    var v = 1u;
    var w = at - params.cols;
    while w >= v {
        w -= v;
        v += 1u;
    }
    var sum = 0.0;
    for (var j = 0u; j < params.cols; j++) {
        sum += vector(s, v, j) * vector(s, w, j);
    }
    out[i] = sum;
}
