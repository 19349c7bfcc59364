// Gradient of `attention` for keys and values (Dao et al. 2022, appendix B).
// Recomputes `p = exp(q.k * scale - lse)`; then `ds = p * (dout.v - delta) * scale`, `dk = sum_i ds q`, `dv = sum_i p dout`
// over the query heads of the group and the queries that see the key.
//
// `qkv` and `kv` are as in `attention`. `dkv` lies as `kv` does; only its keys and values are written, with `CARRY` added
// to. `dout` is `[T, heads * value_dim]`, `lse` and `delta` are `[T, heads]`.
//
// Before it stand `parts/attention`, `parts/attention_places`, `parts/attention_blocks`.
// CPU twin: engine/src/exec/cpu/attention_grad_kv.rs

@group(0) @binding(0) var<storage, read> qkv: array<f32>;
@group(0) @binding(1) var<storage, read> kv: array<f32>;
@group(0) @binding(2) var<storage, read> dout: array<f32>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read> delta: array<f32>;
@group(0) @binding(5) var<storage, read_write> dkv: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

// Sums over what is met, for every element of a head: of the invocation alone, so that they are rounded once. The
// pipeline sets how many there are.
const SUMS: u32 = 512u;
var<private> sums: array<vec4<f32>, SUMS>;

fn four_qkv(at: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(qkv[at.x], qkv[at.y], qkv[at.z], qkv[at.w]);
}

fn four_dout(at: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(dout[at.x], dout[at.y], dout[at.z], dout[at.w]);
}

// Weights of four queries for a key.
fn weights(s: vec4<f32>, log_sum: vec4<f32>, counts: vec4<bool>) -> vec4<f32> {
    return select(vec4<f32>(), exp(s * params.scale - log_sum), counts);
}

// Adds what the queries of head h contribute to the sums of the keys and values that begin at k.
fn add_head(sequence: u32, j: vec4<u32>, h: u32, k: vec4<u32>) {
    let heads = params.groups * params.q_per_group;
    let v = k + params.head_dim;
    let seen_x = queries_of(j.x);
    let seen_y = queries_of(j.y);
    let seen_z = queries_of(j.z);
    let seen_w = queries_of(j.w);
    let begin = min(min(seen_x.x, seen_y.x), min(seen_z.x, seen_w.x));
    let end = max(max(seen_x.y, seen_y.y), max(seen_z.y, seen_w.y));
    for (var i0 = begin; i0 < end; i0 += BLOCK) {
        // Queries beyond the last are computed as the last one, without weight.
        let t_low = sequence * params.queries + min(i0 + LANES, vec4<u32>(params.queries - 1u));
        let t_high = sequence * params.queries + min(i0 + 4u + LANES, vec4<u32>(params.queries - 1u));
        let q_low = query_at(t_low, h);
        let q_high = query_at(t_high, h);
        let stat_low = t_low * heads + h;
        let stat_high = t_high * heads + h;
        var s_low = mat4x4<f32>();
        var s_high = mat4x4<f32>();
        for (var d = 0u; d < params.head_dim; d++) {
            let x = vec4<f32>(kv[k.x + d], kv[k.y + d], kv[k.z + d], kv[k.w + d]);
            s_low += outer(x, four_qkv(q_low + d));
            s_high += outer(x, four_qkv(q_high + d));
        }
        let o_low = stat_low * params.value_dim;
        let o_high = stat_high * params.value_dim;
        var dp_low = mat4x4<f32>();
        var dp_high = mat4x4<f32>();
        for (var d = 0u; d < params.value_dim; d++) {
            let x = vec4<f32>(kv[v.x + d], kv[v.y + d], kv[v.z + d], kv[v.w + d]);
            dp_low += outer(x, four_dout(o_low + d));
            dp_high += outer(x, four_dout(o_high + d));
        }
        let lse_low = four_lse(stat_low);
        let lse_high = four_lse(stat_high);
        let delta_low = four_delta(stat_low);
        let delta_high = four_delta(stat_high);
        let p_low_x = weights(s_low[0], lse_low, within(i0, seen_x));
        let p_high_x = weights(s_high[0], lse_high, within(i0 + 4u, seen_x));
        let ds_low_x = p_low_x * (dp_low[0] - delta_low) * params.scale;
        let ds_high_x = p_high_x * (dp_high[0] - delta_high) * params.scale;
        let p_low_y = weights(s_low[1], lse_low, within(i0, seen_y));
        let p_high_y = weights(s_high[1], lse_high, within(i0 + 4u, seen_y));
        let ds_low_y = p_low_y * (dp_low[1] - delta_low) * params.scale;
        let ds_high_y = p_high_y * (dp_high[1] - delta_high) * params.scale;
        let p_low_z = weights(s_low[2], lse_low, within(i0, seen_z));
        let p_high_z = weights(s_high[2], lse_high, within(i0 + 4u, seen_z));
        let ds_low_z = p_low_z * (dp_low[2] - delta_low) * params.scale;
        let ds_high_z = p_high_z * (dp_high[2] - delta_high) * params.scale;
        let p_low_w = weights(s_low[3], lse_low, within(i0, seen_w));
        let p_high_w = weights(s_high[3], lse_high, within(i0 + 4u, seen_w));
        let ds_low_w = p_low_w * (dp_low[3] - delta_low) * params.scale;
        let ds_high_w = p_high_w * (dp_high[3] - delta_high) * params.scale;
        for (var d = 0u; d < params.head_dim; d++) {
            let low = four_qkv(q_low + d);
            let high = four_qkv(q_high + d);
            sums[d] += vec4<f32>(
                dot(ds_low_x, low) + dot(ds_high_x, high), dot(ds_low_y, low) + dot(ds_high_y, high),
                dot(ds_low_z, low) + dot(ds_high_z, high), dot(ds_low_w, low) + dot(ds_high_w, high),
            );
        }
        for (var d = 0u; d < params.value_dim; d++) {
            let low = four_dout(o_low + d);
            let high = four_dout(o_high + d);
            sums[params.head_dim + d] += vec4<f32>(
                dot(p_low_x, low) + dot(p_high_x, high), dot(p_low_y, low) + dot(p_high_y, high),
                dot(p_low_z, low) + dot(p_high_z, high), dot(p_low_w, low) + dot(p_high_w, high),
            );
        }
    }
}

fn four_lse(at: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(lse[at.x], lse[at.y], lse[at.z], lse[at.w]);
}

fn four_delta(at: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(delta[at.x], delta[at.y], delta[at.z], delta[at.w]);
}

// Writes what the first `count` keys have.
fn store(at: vec4<u32>, count: u32, values: vec4<f32>) {
    for (var x = 0u; x < count; x++) {
        dkv[at[x]] = values[x];
    }
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let blocks = (params.keys + OWN - 1u) / OWN;
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.batch * blocks * params.groups {
        return;
    }
    let group = i % params.groups;
    let sequence = i / params.groups / blocks;
    let first = i / params.groups % blocks * OWN;
    // Keys beyond the last compute it again, and write nothing.
    let count = min(OWN, params.keys - first);
    let j = first + min(LANES, vec4<u32>(count - 1u));
    let k = key_at(key_row(sequence, j), group);
    let width = params.head_dim + params.value_dim;
    if (params.flags & CARRY) != 0u {
        for (var d = 0u; d < width; d++) {
            sums[d] = vec4<f32>(dkv[k.x + d], dkv[k.y + d], dkv[k.z + d], dkv[k.w + d]);
        }
    }
    for (var h = group * params.q_per_group; h < (group + 1u) * params.q_per_group; h++) {
        add_head(sequence, j, h, k);
    }
    for (var d = 0u; d < width; d++) {
        store(k + d, count, sums[d]);
    }
}
