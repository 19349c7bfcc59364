// Joins the parts of latent attention (DeepSeek-AI 2024, "DeepSeek-V2", section 2.1) to fused rows as `attention` reads
// them: of every head its query, its key and its value.
//
// `queries` is `[T, heads * (plain + rotated)]`, `pairs` is `[T, heads * (plain + value)]` with keys and values, `key` is
// `[T, rotated]`, the part of the key that all heads share. Parts of width `rotated` turn as in `rope`.
//
// CPU twin: engine/src/exec/cpu/latent_join.rs

struct Params {
    rows: u32,
    seq: u32,
    heads: u32,
    plain: u32,
    rotated: u32,
    value: u32,
    theta: f32,
    stride: u32,
    first: u32,
}

@group(0) @binding(0) var<storage, read> queries: array<f32>;
@group(0) @binding(1) var<storage, read> pairs: array<f32>;
@group(0) @binding(2) var<storage, read> key: array<f32>;
@group(0) @binding(3) var<storage, read_write> qkv: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

const TAU: f32 = 6.283185307179586;

// Brought to one turn, because sin and cos promise their precision only there.
fn angle(t: u32, d: u32) -> f32 {
    let position = t % params.seq * params.stride + params.first;
    let exponent = -2.0 * f32(d) / f32(params.rotated);
    let full = f32(position) * pow(params.theta, exponent);
    return full - TAU * round(full / TAU);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let head = gid.x + gid.y * workgroups.x * 64u;
    if head >= params.rows * params.heads {
        return;
    }
    let t = head / params.heads;
    let width = params.plain + params.rotated;
    let half_dim = params.rotated / 2u;
    let q = head * width;
    let pair = head * (params.plain + params.value);
    let shared_key = t * params.rotated;
    let to_q = head * (2u * width + params.value);
    let to_k = to_q + width;
    for (var d = 0u; d < params.plain; d++) {
        qkv[to_q + d] = queries[q + d];
        qkv[to_k + d] = pairs[pair + d];
    }
    for (var d = 0u; d < half_dim; d++) {
        let turn = angle(t, d);
        let low = params.plain + d;
        let high = low + half_dim;
        qkv[to_q + low] = queries[q + low] * cos(turn) - queries[q + high] * sin(turn);
        qkv[to_q + high] = queries[q + low] * sin(turn) + queries[q + high] * cos(turn);
        qkv[to_k + low] = key[shared_key + d] * cos(turn) - key[shared_key + d + half_dim] * sin(turn);
        qkv[to_k + high] = key[shared_key + d] * sin(turn) + key[shared_key + d + half_dim] * cos(turn);
    }
    for (var d = 0u; d < params.value; d++) {
        qkv[to_k + width + d] = pairs[pair + params.plain + d];
    }
}
