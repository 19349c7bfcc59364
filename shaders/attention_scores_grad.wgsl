// Gradient of `attention_scores`, joined with that of the values: `dq = sum_j ds k`, `dk = sum_t ds q`, both times `scale`, over
// the query heads of a group where they share a key, and the sum of their `dv`.
//
// `ds` is `[T, heads * keys]`, `dv` is `[T, heads * value_dim]`, `qkv` and `dqkv` are as in `attention`.
//
// Before it stand `parts/attention`, `parts/attention_rows`.
// CPU twin: engine/src/exec/cpu/attention_scores_grad.rs

@group(0) @binding(0) var<storage, read> ds: array<f32>;
@group(0) @binding(1) var<storage, read> qkv: array<f32>;
@group(0) @binding(2) var<storage, read> dv: array<f32>;
@group(0) @binding(3) var<storage, read_write> dqkv: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

// Element d of the gradient of a query.
fn of_query(t: u32, h: u32, d: u32) -> f32 {
    let first = t / params.queries * params.keys;
    let row = (t * params.groups * params.q_per_group + h) * params.keys;
    var sum = 0.0;
    for (var j = 0u; j < params.keys; j++) {
        sum += ds[row + j] * qkv[key_at(first + j, h) + d];
    }
    return sum * params.scale;
}

// Element d of what the queries of a head give to the gradient of a key.
fn of_key(row: u32, h: u32, d: u32) -> f32 {
    let first = row / params.keys * params.queries;
    var sum = 0.0;
    for (var t = first; t < first + params.queries; t++) {
        let head = t * params.groups * params.q_per_group + h;
        sum += ds[head * params.keys + row % params.keys] * qkv[query_at(t, h) + d];
    }
    return sum * params.scale;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let queries = params.q_per_group * params.head_dim;
    let width = queries + params.head_dim + params.value_dim;
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.batch * params.queries * params.groups * width {
        return;
    }
    let t = i / width / params.groups;
    let first = i / width % params.groups * params.q_per_group;
    let e = i % width;
    if e < queries {
        dqkv[i] = of_query(t, first + e / params.head_dim, e % params.head_dim);
        return;
    }
    var sum = 0.0;
    for (var h = first; h < first + params.q_per_group; h++) {
        if e < queries + params.head_dim {
            sum += of_key(t, h, e - queries);
        } else {
            let head = t * params.groups * params.q_per_group + h;
            sum += dv[head * params.value_dim + e - queries - params.head_dim];
        }
    }
    dqkv[i] = sum;
}
