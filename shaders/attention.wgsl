// Causal attention: `out = softmax(q k^T * scale) v` for each query head, over the keys up to the query's own token.
//
// `qkv` is `[T, groups * (q_per_group + 2) * head_dim]`: each group holds its query heads, a key head, a value head.
// `out` is `[T, heads * head_dim]`, `lse[T, heads]` keeps the logarithm of the softmax' denominator for the gradients,
// with `T = batch * seq` and `heads = groups * q_per_group`.
//
// The scores are never stored: the softmax is online (Milakov & Gimelshein 2018), four keys at a time.
//
// CPU twin: engine/src/exec/cpu/attention.rs

struct Params {
    batch: u32,
    seq: u32,
    groups: u32,
    q_per_group: u32,
    head_dim: u32,
    scale: f32,
}

@group(0) @binding(0) var<storage, read> qkv: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(0) @binding(2) var<storage, read_write> lse: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

// Keys, or queries, that are handled at once.
const BLOCK: u32 = 4u;
const LANES: vec4<u32> = vec4<u32>(0u, 1u, 2u, 3u);
const LOWEST: f32 = -3.0e38;

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
        out[o + d] = 0.0;
    }
    var m = LOWEST;
    var sum = 0.0;
    for (var j0 = t - t % params.seq; j0 <= t; j0 += BLOCK) {
        // Lanes beyond the query compute its own key again, with the lowest score.
        let j = min(vec4<u32>(j0) + LANES, vec4<u32>(t));
        let k = key_at(j, h / params.q_per_group);
        let v = value_at(j, h / params.q_per_group);
        var s = vec4<f32>();
        for (var d = 0u; d < params.head_dim; d++) {
            s += qkv[q + d] * four_qkv(k + d);
        }
        s = select(vec4<f32>(LOWEST), s * params.scale, vec4<u32>(j0) + LANES <= vec4<u32>(t));

        let larger = max(m, max(max(s.x, s.y), max(s.z, s.w)));
        let correction = exp(m - larger);
        let p = exp(s - larger);
        for (var d = 0u; d < params.head_dim; d++) {
            out[o + d] = out[o + d] * correction + dot(p, four_qkv(v + d));
        }
        sum = sum * correction + dot(p, vec4<f32>(1.0));
        m = larger;
    }
    for (var d = 0u; d < params.head_dim; d++) {
        out[o + d] /= sum;
    }
    lse[i] = m + log(sum);
}
