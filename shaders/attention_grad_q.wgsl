// Gradient of `attention` for the queries (Dao et al. 2022, appendix B).
// Recomputes `p = exp(q.k * scale - lse)`; then `ds = p * (dout.v - delta) * scale` and `dq = sum_j ds k`.
//
// `qkv` and `dqkv` are fused rows as in `attention`, of which only the query heads of `dqkv` are written.
// `dout` is `[T, heads * head_dim]`, `lse` and `delta` are `[T, heads]`.
//
// CPU twin: engine/src/exec/cpu/attention_grad_q.rs

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
fn query_at(t: u32, h: u32) -> u32 {
    return head_at(vec4<u32>(t), h / params.q_per_group, h % params.q_per_group).x;
}

fn key_at(t: vec4<u32>, group: u32) -> vec4<u32> {
    return head_at(t, group, params.q_per_group);
}

fn value_at(t: vec4<u32>, group: u32) -> vec4<u32> {
    return head_at(t, group, params.q_per_group + 1u);
}

fn head_at(t: vec4<u32>, group: u32, head: u32) -> vec4<u32> {
    let groups = t * params.groups + group;
    return (groups * (params.q_per_group + 2u) + head) * params.head_dim;
}

fn four_qkv(at: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(qkv[at.x], qkv[at.y], qkv[at.z], qkv[at.w]);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let heads = params.groups * params.q_per_group;
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.batch * params.seq * heads {
        return;
    }
    let t = i / heads;
    let h = i % heads;

    let q = query_at(t, h);
    let o = i * params.head_dim;
    for (var d = 0u; d < params.head_dim; d++) {
        dqkv[q + d] = 0.0;
    }
    for (var j0 = t - t % params.seq; j0 <= t; j0 += BLOCK) {
        // Lanes beyond the query compute its own key again, without weight.
        let j = min(vec4<u32>(j0) + LANES, vec4<u32>(t));
        let k = key_at(j, h / params.q_per_group);
        let v = value_at(j, h / params.q_per_group);
        var s = vec4<f32>();
        var dp = vec4<f32>();
        for (var d = 0u; d < params.head_dim; d++) {
            s += qkv[q + d] * four_qkv(k + d);
            dp += dout[o + d] * four_qkv(v + d);
        }
        let prob = exp(s * params.scale - lse[i]);
        let within = vec4<u32>(j0) + LANES <= vec4<u32>(t);
        let ds = select(vec4<f32>(), prob * (dp - delta[i]) * params.scale, within);
        for (var d = 0u; d < params.head_dim; d++) {
            dqkv[q + d] += dot(ds, four_qkv(k + d));
        }
    }
}
