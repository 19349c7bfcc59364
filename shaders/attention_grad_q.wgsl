// Gradient of `attention` for the queries (Dao et al. 2022, appendix B).
// Recomputes `p = exp(q.k * scale - lse)`; then `ds = p * (dout.v - delta) * scale` and `dq = sum_j ds k`.
//
// `qkv`, `kv` and `dqkv` are as in `attention`; only the query heads of `dqkv` are written, with `CARRY` added to.
// `dout` is `[T, heads * value_dim]`, `lse` and `delta` are `[T, heads]`.
//
// CPU twin: engine/src/exec/cpu/attention_grad_q.rs

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

@group(0) @binding(0) var<storage, read> qkv: array<f32>;
@group(0) @binding(1) var<storage, read> kv: array<f32>;
@group(0) @binding(2) var<storage, read> dout: array<f32>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read> delta: array<f32>;
@group(0) @binding(5) var<storage, read_write> dqkv: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

// A token sees none behind itself; what is there already counts; `kv` has no queries.
const CAUSAL: u32 = 1u;
const CARRY: u32 = 2u;
const APART: u32 = 4u;

// Keys, or queries, that are handled at once.
const BLOCK: u32 = 4u;
const LANES: vec4<u32> = vec4<u32>(0u, 1u, 2u, 3u);

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

// The rows of keys j of a sequence.
fn key_row(sequence: u32, j: vec4<u32>) -> vec4<u32> {
    let of_rank = params.keys / params.gather;
    return j % params.gather * params.batch * of_rank + sequence * of_rank + j / params.gather;
}

// Where the query of a head begins: each group holds its query heads, a key head, a value head.
fn query_at(t: u32, h: u32) -> u32 {
    let group = (params.q_per_group + 1u) * params.head_dim + params.value_dim;
    return (t * params.groups + h / params.q_per_group) * group + h % params.q_per_group * params.head_dim;
}

// Where the keys of a group begin in `kv`; their values follow.
fn key_at(row: vec4<u32>, group: u32) -> vec4<u32> {
    let queries = select(0u, params.q_per_group * params.head_dim, (params.flags & APART) == 0u);
    return (row * params.groups + group) * (queries + params.head_dim + params.value_dim) + queries;
}

fn four_kv(at: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(kv[at.x], kv[at.y], kv[at.z], kv[at.w]);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let heads = params.groups * params.q_per_group;
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.batch * params.queries * heads {
        return;
    }
    let t = i / heads;
    let h = i % heads;

    let q = query_at(t, h);
    let o = i * params.value_dim;
    if (params.flags & CARRY) == 0u {
        for (var d = 0u; d < params.head_dim; d++) {
            dqkv[q + d] = 0.0;
        }
    }
    let seen = keys_of(t);
    for (var j0 = seen.x; j0 < seen.y; j0 += BLOCK) {
        // Lanes beyond the last key compute it again, without weight.
        let j = min(vec4<u32>(j0) + LANES, vec4<u32>(seen.y - 1u));
        let k = key_at(key_row(t / params.queries, j), h / params.q_per_group);
        let v = k + params.head_dim;
        var s = vec4<f32>();
        for (var d = 0u; d < params.head_dim; d++) {
            s += qkv[q + d] * four_kv(k + d);
        }
        var dp = vec4<f32>();
        for (var d = 0u; d < params.value_dim; d++) {
            dp += dout[o + d] * four_kv(v + d);
        }
        let prob = exp(s * params.scale - lse[i]);
        let within = vec4<u32>(j0) + LANES < vec4<u32>(seen.y);
        let ds = select(vec4<f32>(), prob * (dp - delta[i]) * params.scale, within);
        for (var d = 0u; d < params.head_dim; d++) {
            dqkv[q + d] += dot(ds, four_kv(k + d));
        }
    }
}
