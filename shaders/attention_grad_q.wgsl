// Gradient of `attention` for the queries (Dao et al. 2022, appendix B).
// Recomputes `p = exp(q.k * scale - lse)`; then `ds = p * (dout.v - delta) * scale` and `dq = sum_j ds k`.
//
// `qkv`, `kv` and `dqkv` are as in `attention`; only the query heads of `dqkv` are written, with `CARRY` added to.
// `dout` is `[T, heads * value_dim]`, `lse` and `delta` are `[T, heads]`.
//
// Before it stand `parts/attention`, `parts/attention_places`, `parts/attention_blocks`.
// CPU twin: engine/src/exec/cpu/attention_grad_q.rs

@group(0) @binding(0) var<storage, read> qkv: array<f32>;
@group(0) @binding(1) var<storage, read> kv: array<f32>;
@group(0) @binding(2) var<storage, read> dout: array<f32>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read> delta: array<f32>;
@group(0) @binding(5) var<storage, read_write> dqkv: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

// Sums over what is met, for every element of a head: of the invocation alone, so that they are rounded once. The
// pipeline sets how many there are.
const SUMS: u32 = 512u;
var<private> sums: array<vec4<f32>, SUMS>;

fn four_kv(at: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(kv[at.x], kv[at.y], kv[at.z], kv[at.w]);
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
    let log_sum = vec4<f32>(lse[stat.x], lse[stat.y], lse[stat.z], lse[stat.w]);
    let deltas = vec4<f32>(delta[stat.x], delta[stat.y], delta[stat.z], delta[stat.w]);
    if (params.flags & CARRY) != 0u {
        for (var d = 0u; d < params.head_dim; d++) {
            sums[d] = vec4<f32>(dqkv[q.x + d], dqkv[q.y + d], dqkv[q.z + d], dqkv[q.w + d]);
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
        var dp_low = mat4x4<f32>();
        var dp_high = mat4x4<f32>();
        for (var d = 0u; d < params.value_dim; d++) {
            let x = vec4<f32>(dout[o.x + d], dout[o.y + d], dout[o.z + d], dout[o.w + d]);
            dp_low += outer(x, four_kv(low + params.head_dim + d));
            dp_high += outer(x, four_kv(high + params.head_dim + d));
        }
        let low_x = gradient(s_low[0], dp_low[0], log_sum.x, deltas.x, within(j0, seen_x));
        let high_x = gradient(s_high[0], dp_high[0], log_sum.x, deltas.x, within(j0 + 4u, seen_x));
        let low_y = gradient(s_low[1], dp_low[1], log_sum.y, deltas.y, within(j0, seen_y));
        let high_y = gradient(s_high[1], dp_high[1], log_sum.y, deltas.y, within(j0 + 4u, seen_y));
        let low_z = gradient(s_low[2], dp_low[2], log_sum.z, deltas.z, within(j0, seen_z));
        let high_z = gradient(s_high[2], dp_high[2], log_sum.z, deltas.z, within(j0 + 4u, seen_z));
        let low_w = gradient(s_low[3], dp_low[3], log_sum.w, deltas.w, within(j0, seen_w));
        let high_w = gradient(s_high[3], dp_high[3], log_sum.w, deltas.w, within(j0 + 4u, seen_w));
        for (var d = 0u; d < params.head_dim; d++) {
            let k_low = four_kv(low + d);
            let k_high = four_kv(high + d);
            sums[d] += vec4<f32>(
                dot(low_x, k_low) + dot(high_x, k_high), dot(low_y, k_low) + dot(high_y, k_high),
                dot(low_z, k_low) + dot(high_z, k_high), dot(low_w, k_low) + dot(high_w, k_high),
            );
        }
    }
    for (var d = 0u; d < params.head_dim; d++) {
        store(q + d, count, sums[d]);
    }
}

// Gradients of the scores of a query with four keys.
fn gradient(s: vec4<f32>, dp: vec4<f32>, log_sum: f32, delta_of_row: f32, counts: vec4<bool>) -> vec4<f32> {
    let prob = exp(s * params.scale - log_sum);
    return select(vec4<f32>(), prob * (dp - delta_of_row) * params.scale, counts);
}

// Writes what the first `count` rows have.
fn store(at: vec4<u32>, count: u32, values: vec4<f32>) {
    for (var x = 0u; x < count; x++) {
        dqkv[at[x]] = values[x];
    }
}
