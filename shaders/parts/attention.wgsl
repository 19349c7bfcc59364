// What all kernels of attention share: parameters, which keys a token sees, and which queries a key.

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

// A token sees none behind itself; what is there already counts; `kv` has no queries.
const CAUSAL: u32 = 1u;
const CARRY: u32 = 2u;
const APART: u32 = 4u;

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

// The queries of a sequence that see key j: from x to before y.
fn queries_of(j: u32) -> vec2<u32> {
    let token = j * (params.query_stride / params.gather) + params.key_first;
    let causal = (params.flags & CAUSAL) != 0u;
    let first = select(0u, before(token, params.query_first, params.query_stride, params.queries), causal);
    let last = before(token + params.window, params.query_first, params.query_stride, params.queries);
    return vec2<u32>(first, max(first, select(last, params.queries, params.window == 0u)));
}
