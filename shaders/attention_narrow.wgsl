// Attention: `out = softmax(q k^T * scale) v` for each query head, over the keys that the query's token sees.
//
// `qkv` has a row for each token of this rank; its groups hold their query heads, a key head, a value head. `kv` is the
// same, or has the keys and values of a part of the sequence alone (`APART`), for a head each behind each other.
// `out` is `[T, heads * value_dim]`, `lse[T, heads]` keeps the logarithm of the softmax' denominator for the gradients,
// with `T = batch * queries` and `heads = groups * q_per_group`.
//
// Query `i` of a sequence is its token `i * query_stride + query_first`. Ranks whose keys lie behind each other
// (`gather`) have every `gather`-th token. With `CARRY` the keys come to those that `out` and `lse` have seen already
// (Liu et al. 2023, "Ring Attention").
//
// The scores are never stored: the softmax is online (Milakov & Gimelshein 2018), eight keys at a time. An invocation has
// four queries of a head, which share what is read of the keys.
//
// Before it stand `parts/attention`, `parts/attention_places`, `parts/attention_blocks`.
// CPU twin: engine/src/exec/cpu/attention.rs, another way to compute it

@group(0) @binding(0) var<storage, read> qkv: array<f32>;
@group(0) @binding(1) var<storage, read> kv: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<storage, read_write> lse: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

// Sums over what is met, for every element of a head: of the invocation alone, so that they are rounded once. The
// pipeline sets how many there are.
const SUMS: u32 = 512u;
var<private> sums: array<vec4<f32>, SUMS>;

const LOWEST: f32 = -3.0e38;

fn four_kv(at: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(kv[at.x], kv[at.y], kv[at.z], kv[at.w]);
}

fn largest(x: vec4<f32>) -> f32 {
    return max(max(x.x, x.y), max(x.z, x.w));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let heads = params.groups * params.q_per_group;
    let blocks = (params.queries + OWN - 1u) / OWN;
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.batch * blocks * heads {
        return;
    }
    let h = i % heads;
    let sequence = i / heads / blocks;
    let first = i / heads % blocks * OWN;
    // Rows beyond the sequence compute its last one again, and write nothing.
    let count = min(OWN, params.queries - first);
    let t = sequence * params.queries + first + min(LANES, vec4<u32>(count - 1u));
    let q = query_at(t, h);
    let stat = t * heads + h;
    let o = stat * params.value_dim;
    let group = h / params.q_per_group;
    let seen_x = keys_of(t.x);
    let seen_y = keys_of(t.y);
    let seen_z = keys_of(t.z);
    let seen_w = keys_of(t.w);
    let begin = min(min(seen_x.x, seen_y.x), min(seen_z.x, seen_w.x));
    let end = max(max(seen_x.y, seen_y.y), max(seen_z.y, seen_w.y));
    var m = vec4<f32>(LOWEST);
    var sum = vec4<f32>();
    if (params.flags & CARRY) != 0u {
        m = vec4<f32>(lse[stat.x], lse[stat.y], lse[stat.z], lse[stat.w]);
        sum = vec4<f32>(1.0);
        for (var d = 0u; d < params.value_dim; d++) {
            sums[d] = vec4<f32>(out[o.x + d], out[o.y + d], out[o.z + d], out[o.w + d]);
        }
    }
    for (var j0 = begin; j0 < end; j0 += BLOCK) {
        // Keys beyond the last are computed as the last one, without weight.
        let low = key_at(key_row(sequence, min(j0 + LANES, vec4<u32>(params.keys - 1u))), group);
        let high = key_at(key_row(sequence, min(j0 + 4u + LANES, vec4<u32>(params.keys - 1u))), group);
        var s_low = mat4x4<f32>();
        var s_high = mat4x4<f32>();
        for (var d = 0u; d < params.head_dim; d++) {
            let x = vec4<f32>(qkv[q.x + d], qkv[q.y + d], qkv[q.z + d], qkv[q.w + d]);
            s_low += outer(x, four_kv(low + d));
            s_high += outer(x, four_kv(high + d));
        }
        let in_low_x = within(j0, seen_x);
        let in_high_x = within(j0 + 4u, seen_x);
        let low_x = select(vec4<f32>(LOWEST), s_low[0] * params.scale, in_low_x);
        let high_x = select(vec4<f32>(LOWEST), s_high[0] * params.scale, in_high_x);
        let in_low_y = within(j0, seen_y);
        let in_high_y = within(j0 + 4u, seen_y);
        let low_y = select(vec4<f32>(LOWEST), s_low[1] * params.scale, in_low_y);
        let high_y = select(vec4<f32>(LOWEST), s_high[1] * params.scale, in_high_y);
        let in_low_z = within(j0, seen_z);
        let in_high_z = within(j0 + 4u, seen_z);
        let low_z = select(vec4<f32>(LOWEST), s_low[2] * params.scale, in_low_z);
        let high_z = select(vec4<f32>(LOWEST), s_high[2] * params.scale, in_high_z);
        let in_low_w = within(j0, seen_w);
        let in_high_w = within(j0 + 4u, seen_w);
        let low_w = select(vec4<f32>(LOWEST), s_low[3] * params.scale, in_low_w);
        let high_w = select(vec4<f32>(LOWEST), s_high[3] * params.scale, in_high_w);
        let larger = max(m, vec4<f32>(
            largest(max(low_x, high_x)), largest(max(low_y, high_y)),
            largest(max(low_z, high_z)), largest(max(low_w, high_w)),
        ));
        let correction = exp(m - larger);
        let p_low_x = select(vec4<f32>(), exp(low_x - larger.x), in_low_x);
        let p_high_x = select(vec4<f32>(), exp(high_x - larger.x), in_high_x);
        let p_low_y = select(vec4<f32>(), exp(low_y - larger.y), in_low_y);
        let p_high_y = select(vec4<f32>(), exp(high_y - larger.y), in_high_y);
        let p_low_z = select(vec4<f32>(), exp(low_z - larger.z), in_low_z);
        let p_high_z = select(vec4<f32>(), exp(high_z - larger.z), in_high_z);
        let p_low_w = select(vec4<f32>(), exp(low_w - larger.w), in_low_w);
        let p_high_w = select(vec4<f32>(), exp(high_w - larger.w), in_high_w);
        for (var d = 0u; d < params.value_dim; d++) {
            let v_low = four_kv(low + params.head_dim + d);
            let v_high = four_kv(high + params.head_dim + d);
            let weighed = vec4<f32>(
                dot(p_low_x, v_low) + dot(p_high_x, v_high), dot(p_low_y, v_low) + dot(p_high_y, v_high),
                dot(p_low_z, v_low) + dot(p_high_z, v_high), dot(p_low_w, v_low) + dot(p_high_w, v_high),
            );
            sums[d] = sums[d] * correction + weighed;
        }
        let one = vec4<f32>(1.0);
        sum = sum * correction + vec4<f32>(
            dot(p_low_x + p_high_x, one), dot(p_low_y + p_high_y, one),
            dot(p_low_z + p_high_z, one), dot(p_low_w + p_high_w, one),
        );
        m = larger;
    }
    for (var d = 0u; d < params.value_dim; d++) {
        store(o + d, count, sums[d] / sum);
    }
    let log_sum = m + log(sum);
    for (var x = 0u; x < count; x++) {
        lse[stat[x]] = log_sum[x];
    }
}

// Writes what the first `count` rows have.
fn store(at: vec4<u32>, count: u32, values: vec4<f32>) {
    for (var x = 0u; x < count; x++) {
        out[at[x]] = values[x];
    }
}
