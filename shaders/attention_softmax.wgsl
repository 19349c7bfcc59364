// Softmax of attention that is not fused, over the keys that a token sees; others weigh nothing.
//
// `s` and `p` are `[T, heads * keys]` with `T = batch * queries`, `heads = groups * q_per_group`.
//
// CPU twin: engine/src/exec/cpu/attention_softmax.rs

struct Params {
    batch: u32,
    queries: u32,
    keys: u32,
    groups: u32,
    q_per_group: u32,
    head_dim: u32,
    value_dim: u32,
    scale: f32,
    query_stride: u32,
    query_first: u32,
    key_first: u32,
    gather: u32,
    window: u32,
    flags: u32,
}

@group(0) @binding(0) var<storage, read> s: array<f32>;
@group(0) @binding(1) var<storage, read_write> p: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

// A token sees none behind itself.
const CAUSAL: u32 = 1u;

// How many of `all` tokens, `stride` apart from `first` on, come before `token`.
fn before(token: u32, first: u32, stride: u32, all: u32) -> u32 {
    return min((max(token, first) - first + stride - 1u) / stride, all);
}

// The keys of its sequence that row t sees: from x to before y.
fn keys_of(t: u32) -> vec2<u32> {
    let token = t % params.queries * params.query_stride + params.query_first;
    let stride = params.query_stride / params.gather;
    let causal = (params.flags & CAUSAL) != 0u;
    let end = select(params.keys, before(token + 1u, params.key_first, stride, params.keys), causal);
    let behind = max(token + 1u, params.window) - params.window;
    let first = select(before(behind, params.key_first, stride, params.keys), 0u, params.window == 0u);
    return vec2<u32>(min(first, end), end);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let heads = params.groups * params.q_per_group;
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.batch * params.queries * heads {
        return;
    }
    let seen = keys_of(i / heads);
    let row = i * params.keys;
    var largest = s[row + seen.x];
    for (var j = seen.x; j < seen.y; j++) {
        largest = max(largest, s[row + j]);
    }
    var sum = 0.0;
    for (var j = seen.x; j < seen.y; j++) {
        sum += exp(s[row + j] - largest);
    }
    for (var j = 0u; j < params.keys; j++) {
        let weight = exp(min(s[row + j] - largest, 0.0)) / sum;
        p[row + j] = select(0.0, weight, j >= seen.x && j < seen.y);
    }
}
