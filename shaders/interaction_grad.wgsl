// Gradient of `interaction` for the dense vector and those of the tables.
//
// CPU twin: engine/src/exec/cpu/interaction_grad.rs

struct Params {
    batch: u32,
    cols: u32,
    tables: u32,
    products: u32,
    ranks: u32,
}

@group(0) @binding(0) var<storage, read> dense: array<f32>;
@group(0) @binding(1) var<storage, read> vectors: array<f32>;
@group(0) @binding(2) var<storage, read> dout: array<f32>;
@group(0) @binding(3) var<storage, read_write> ddense: array<f32>;
@group(0) @binding(4) var<storage, read_write> dvectors: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

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

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    let of_sample = (params.tables + 1u) * params.cols;
    if i >= params.batch * of_sample {
        return;
    }
    let s = i / of_sample;
    let v = i % of_sample / params.cols;
    let j = i % params.cols;
    var sum = 0.0;
    if params.products == 0u {
        sum = dout[i];
    } else {
        let row = s * (params.cols + (params.tables + 1u) * params.tables / 2u);
        if v == 0u {
            sum = dout[row + j];
        }
        for (var w = 0u; w <= params.tables; w++) {
            if w != v {
                let high = max(v, w);
                let pair = params.cols + high * (high - 1u) / 2u + min(v, w);
                sum += dout[row + pair] * vector(s, w, j);
            }
        }
    }
    if v == 0u {
        ddense[s * params.cols + j] = sum;
    } else {
        dvectors[row_of(s, v - 1u) * params.cols + j] = sum;
    }
}
