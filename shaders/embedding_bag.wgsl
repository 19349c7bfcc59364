// Embedding bag of one table: `out[s * tables + table, :]` is the sum of the rows `row_offset + id` of `weight` over the ids that
// sample `s` has of this table, `ids[s * of_sample + id_offset ..][.. lookups]` (Naumov et al. 2019).
//
// Tables lie below each other in `weight`; `out` has a row for every sample and table.
//
// CPU twin: engine/src/exec/cpu/embedding_bag.rs

struct Params {
    batch: u32,
    cols: u32,
    lookups: u32,
    of_sample: u32,
    id_offset: u32,
    row_offset: u32,
    table: u32,
    tables: u32,
}

@group(0) @binding(0) var<storage, read> ids: array<u32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.batch * params.cols {
        return;
    }
    let s = i / params.cols;
    let j = i % params.cols;
    var sum = 0.0;
    for (var l = 0u; l < params.lookups; l++) {
        let id = ids[s * params.of_sample + params.id_offset + l];
        sum += weight[(params.row_offset + id) * params.cols + j];
    }
    out[(s * params.tables + params.table) * params.cols + j] = sum;
}
