// Gradient of `attention` for keys and values (Dao et al. 2022, appendix B).
// Recomputes `p = exp(q.k * scale - lse)`; then `ds = p * (dout.v - delta) * scale`, `dk = sum_i ds q`, `dv = sum_i p dout`
// over the query heads of the group and the queries that see the key.
//
// `qkv` and `kv` are as in `attention`. `dkv` lies as `kv` does; only its keys and values are written, with `CARRY` added
// to. `dout` is `[T, heads * value_dim]`, `lse` and `delta` are `[T, heads]`.
//
// CPU twin: engine/src/exec/cpu/attention_grad_kv.rs

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
@group(0) @binding(5) var<storage, read_write> dkv: array<f32>;
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

// The queries of a sequence that see key j: from x to before y.
fn queries_of(j: u32) -> vec2<u32> {
    let token = j * (params.query_stride / params.gather) + params.key_first;
    let causal = (params.flags & CAUSAL) != 0u;
    let first = select(0u, before(token, params.query_first, params.query_stride, params.queries), causal);
    let last = before(token + params.window, params.query_first, params.query_stride, params.queries);
    return vec2<u32>(first, max(first, select(last, params.queries, params.window == 0u)));
}

// The rows of keys j of a sequence.
fn key_row(sequence: u32, j: vec4<u32>) -> vec4<u32> {
    let of_rank = params.keys / params.gather;
    return j % params.gather * params.batch * of_rank + sequence * of_rank + j / params.gather;
}

// Where the queries of a head begin: each group holds its query heads, a key head, a value head.
fn query_at(t: vec4<u32>, h: u32) -> vec4<u32> {
    let group = (params.q_per_group + 1u) * params.head_dim + params.value_dim;
    return (t * params.groups + h / params.q_per_group) * group + h % params.q_per_group * params.head_dim;
}

// Where the keys of a group begin in `kv`; their values follow.
fn key_at(row: vec4<u32>, group: u32) -> vec4<u32> {
    let queries = select(0u, params.q_per_group * params.head_dim, (params.flags & APART) == 0u);
    return (row * params.groups + group) * (queries + params.head_dim + params.value_dim) + queries;
}

fn four_qkv(at: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(qkv[at.x], qkv[at.y], qkv[at.z], qkv[at.w]);
}

fn four_dout(at: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(dout[at.x], dout[at.y], dout[at.z], dout[at.w]);
}

// Adds what the queries of head h contribute to the gradients of key and value j of a sequence, which begin at k.
fn add_head(sequence: u32, j: u32, h: u32, k: u32) {
    let heads = params.groups * params.q_per_group;
    let v = k + params.head_dim;
    let seeing = queries_of(j);
    for (var i0 = seeing.x; i0 < seeing.y; i0 += BLOCK) {
        // Lanes beyond the last query compute it again, without weight.
        let t = sequence * params.queries + min(vec4<u32>(i0) + LANES, vec4<u32>(seeing.y - 1u));
        let q = query_at(t, h);
        let stat = t * heads + h;
        let o = stat * params.value_dim;
        var s = vec4<f32>();
        for (var d = 0u; d < params.head_dim; d++) {
            s += kv[k + d] * four_qkv(q + d);
        }
        var dp = vec4<f32>();
        for (var d = 0u; d < params.value_dim; d++) {
            dp += kv[v + d] * four_dout(o + d);
        }
        let within = vec4<u32>(i0) + LANES < vec4<u32>(seeing.y);
        let log_sum = vec4<f32>(lse[stat.x], lse[stat.y], lse[stat.z], lse[stat.w]);
        let deltas = vec4<f32>(delta[stat.x], delta[stat.y], delta[stat.z], delta[stat.w]);
        let prob = select(vec4<f32>(), exp(s * params.scale - log_sum), within);
        let ds = prob * (dp - deltas) * params.scale;
        for (var d = 0u; d < params.head_dim; d++) {
            dkv[k + d] += dot(ds, four_qkv(q + d));
        }
        for (var d = 0u; d < params.value_dim; d++) {
            dkv[v + d] += dot(prob, four_dout(o + d));
        }
    }
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.batch * params.keys * params.groups {
        return;
    }
    let key = i / params.groups;
    let group = i % params.groups;
    let sequence = key / params.keys;
    let j = key % params.keys;
    let k = key_at(key_row(sequence, vec4<u32>(j)), group).x;
    if (params.flags & CARRY) == 0u {
        for (var d = 0u; d < params.head_dim + params.value_dim; d++) {
            dkv[k + d] = 0.0;
        }
    }
    for (var h = group * params.q_per_group; h < (group + 1u) * params.q_per_group; h++) {
        add_head(sequence, j, h, k);
    }
}
