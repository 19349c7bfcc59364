// Gradient of `attention` for keys and values (Dao et al. 2022, appendix B).
// Recomputes `p = exp(q.k * scale - lse)`; then `ds = p * (dout.v - delta) * scale`, `dk = sum_i ds q`, `dv = sum_i p dout`
// over the query heads of the group and the queries from the key's own token on.
//
// `qkv` and `dqkv` are fused rows as in `attention`, of which only the key and value heads of `dqkv` are written.
// `dout` is `[T, heads * head_dim]`, `lse` and `delta` are `[T, heads]`.
//
// CPU twin: engine/src/exec/cpu/attention_grad_kv.rs

struct Params {
    batch: u32,
    seq: u32,
    groups: u32,
    q_per_group: u32,
    head_dim: u32,
    scale: f32,
}

@group(0) @binding(0) var<storage, read> qkv: array<f32>;
@group(0) @binding(1) var<storage, read> dout: array<f32>;
@group(0) @binding(2) var<storage, read> lse: array<f32>;
@group(0) @binding(3) var<storage, read> delta: array<f32>;
@group(0) @binding(4) var<storage, read_write> dqkv: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

// Keys, or queries, that are handled at once.
const BLOCK: u32 = 4u;
const LANES: vec4<u32> = vec4<u32>(0u, 1u, 2u, 3u);

// Where a head begins in the fused rows: each group holds its query heads, a key head, a value head.
fn query_at(t: vec4<u32>, h: u32) -> vec4<u32> {
    return head_at(t, h / params.q_per_group, h % params.q_per_group);
}

fn key_at(t: u32, group: u32) -> u32 {
    return head_at(vec4<u32>(t), group, params.q_per_group).x;
}

fn value_at(t: u32, group: u32) -> u32 {
    return head_at(vec4<u32>(t), group, params.q_per_group + 1u).x;
}

fn head_at(t: vec4<u32>, group: u32, head: u32) -> vec4<u32> {
    let groups = t * params.groups + group;
    return (groups * (params.q_per_group + 2u) + head) * params.head_dim;
}

fn four_qkv(at: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(qkv[at.x], qkv[at.y], qkv[at.z], qkv[at.w]);
}

fn four_dout(at: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(dout[at.x], dout[at.y], dout[at.z], dout[at.w]);
}

// Adds what the queries of head h from token t on contribute to the gradients of key and value of t.
fn add_head(t: u32, h: u32, k: u32, v: u32) {
    let heads = params.groups * params.q_per_group;
    let last = t - t % params.seq + params.seq - 1u;
    for (var i0 = t; i0 <= last; i0 += BLOCK) {
        // Lanes beyond the sequence compute its last query again, without weight.
        let i = min(vec4<u32>(i0) + LANES, vec4<u32>(last));
        let q = query_at(i, h);
        let stat = i * heads + h;
        let o = stat * params.head_dim;
        var s = vec4<f32>();
        var dp = vec4<f32>();
        for (var d = 0u; d < params.head_dim; d++) {
            s += qkv[k + d] * four_qkv(q + d);
            dp += qkv[v + d] * four_dout(o + d);
        }
        let within = vec4<u32>(i0) + LANES <= vec4<u32>(last);
        let log_sum = vec4<f32>(lse[stat.x], lse[stat.y], lse[stat.z], lse[stat.w]);
        let deltas = vec4<f32>(delta[stat.x], delta[stat.y], delta[stat.z], delta[stat.w]);
        let prob = select(vec4<f32>(), exp(s * params.scale - log_sum), within);
        let ds = prob * (dp - deltas) * params.scale;
        for (var d = 0u; d < params.head_dim; d++) {
            dqkv[k + d] += dot(ds, four_qkv(q + d));
            dqkv[v + d] += dot(prob, four_dout(o + d));
        }
    }
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.batch * params.seq * params.groups {
        return;
    }
    let t = i / params.groups;
    let group = i % params.groups;
    let k = key_at(t, group);
    let v = value_at(t, group);
    for (var d = 0u; d < params.head_dim; d++) {
        dqkv[k + d] = 0.0;
        dqkv[v + d] = 0.0;
    }
    for (var h = group * params.q_per_group; h < (group + 1u) * params.q_per_group; h++) {
        add_head(t, h, k, v);
    }
}
