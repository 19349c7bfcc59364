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
// The scores are never stored: the softmax is online (Milakov & Gimelshein 2018), sixteen keys at a time. An invocation has
// eight queries of a head, which share what is read of the keys.
//
// Before it stand `parts/attention`, `parts/attention_places`, `parts/attention_blocks`, and how it reads:
// `parts/attention_numbers` or `parts/attention_vectors`.
// CPU twin: engine/src/exec/cpu/attention.rs

@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<storage, read_write> lse: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

// Sums over what is met, for every element of a head: of the invocation alone, so that they are rounded once. The
// pipeline sets how many there are.
const SUMS: u32 = 512u;
const HALVES: u32 = 2u * SUMS;
var<private> sums: array<vec4<f32>, HALVES>;

const LOWEST: f32 = -3.0e38;

// Queries of an invocation.
const QUERIES: u32 = 8u;

// Keys that are met at once. As many as this, since the sums are read and written for each: memory of an invocation costs
// as much as any other where there is no room for it in registers.
const KEYS: u32 = 16u;

// Where four keys from number j on begin; those beyond the last are the last one.
fn keys_at(sequence: u32, j: u32, group: u32) -> vec4<u32> {
    return key_at(key_row(sequence, min(j + LANES, vec4<u32>(params.keys - 1u))), group);
}

fn largest(x: vec4<f32>) -> f32 {
    return max(max(x.x, x.y), max(x.z, x.w));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let heads = params.groups * params.q_per_group;
    let blocks = (params.queries + QUERIES - 1u) / QUERIES;
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.batch * blocks * heads {
        return;
    }
    let h = i % heads;
    let sequence = i / heads / blocks;
    let first = i / heads % blocks * QUERIES;
    // Rows beyond the sequence compute its last one again, and write nothing.
    let count = min(QUERIES, params.queries - first);
    let group = h / params.q_per_group;
    let t0 = sequence * params.queries + first + min(LANES + 0u, vec4<u32>(count - 1u));
    let q0 = query_at(t0, h);
    let stat0 = t0 * heads + h;
    let o0 = stat0 * params.value_dim;
    let t1 = sequence * params.queries + first + min(LANES + 4u, vec4<u32>(count - 1u));
    let q1 = query_at(t1, h);
    let stat1 = t1 * heads + h;
    let o1 = stat1 * params.value_dim;
    let seen0_x = keys_of(t0.x);
    let seen0_y = keys_of(t0.y);
    let seen0_z = keys_of(t0.z);
    let seen0_w = keys_of(t0.w);
    let seen1_x = keys_of(t1.x);
    let seen1_y = keys_of(t1.y);
    let seen1_z = keys_of(t1.z);
    let seen1_w = keys_of(t1.w);
    // Later queries see no less behind and no more before them.
    let begin = seen0_x.x;
    let end = seen1_w.y;
    var m0 = vec4<f32>(LOWEST);
    var sum0 = vec4<f32>();
    var m1 = vec4<f32>(LOWEST);
    var sum1 = vec4<f32>();
    if (params.flags & CARRY) != 0u {
        m0 = vec4<f32>(lse[stat0.x], lse[stat0.y], lse[stat0.z], lse[stat0.w]);
        m1 = vec4<f32>(lse[stat1.x], lse[stat1.y], lse[stat1.z], lse[stat1.w]);
        sum0 = vec4<f32>(1.0);
        sum1 = vec4<f32>(1.0);
        for (var d = 0u; d < params.value_dim; d++) {
            sums[2u * d] = vec4<f32>(out[o0.x + d], out[o0.y + d], out[o0.z + d], out[o0.w + d]);
            sums[2u * d + 1u] = vec4<f32>(out[o1.x + d], out[o1.y + d], out[o1.z + d], out[o1.w + d]);
        }
    }
    for (var j0 = begin; j0 < end; j0 += KEYS) {
        let at_0 = keys_at(sequence, j0 + 0u, group);
        let at_1 = keys_at(sequence, j0 + 4u, group);
        let at_2 = keys_at(sequence, j0 + 8u, group);
        let at_3 = keys_at(sequence, j0 + 12u, group);
        var s0_0 = mat4x4<f32>();
        var s0_1 = mat4x4<f32>();
        var s0_2 = mat4x4<f32>();
        var s0_3 = mat4x4<f32>();
        var s1_0 = mat4x4<f32>();
        var s1_1 = mat4x4<f32>();
        var s1_2 = mat4x4<f32>();
        var s1_3 = mat4x4<f32>();
        for (var d = 0u; d < params.head_dim; d += STEP) {
            let x0 = of_queries(q0 + d);
            let x1 = of_queries(q1 + d);
            let k_0 = of_keys(at_0 + d);
            let k_1 = of_keys(at_1 + d);
            let k_2 = of_keys(at_2 + d);
            let k_3 = of_keys(at_3 + d);
            // unroll
            for (var e = 0u; e < 4u; e++) {
                if e < STEP {
                    s0_0 += outer(x0[e], k_0[e]);
                    s1_0 += outer(x1[e], k_0[e]);
                    s0_1 += outer(x0[e], k_1[e]);
                    s1_1 += outer(x1[e], k_1[e]);
                    s0_2 += outer(x0[e], k_2[e]);
                    s1_2 += outer(x1[e], k_2[e]);
                    s0_3 += outer(x0[e], k_3[e]);
                    s1_3 += outer(x1[e], k_3[e]);
                }
            }
        }
        let in0_0_x = within(j0 + 0u, seen0_x);
        let s0_0_x = select(vec4<f32>(LOWEST), s0_0[0] * params.scale, in0_0_x);
        let in0_1_x = within(j0 + 4u, seen0_x);
        let s0_1_x = select(vec4<f32>(LOWEST), s0_1[0] * params.scale, in0_1_x);
        let in0_2_x = within(j0 + 8u, seen0_x);
        let s0_2_x = select(vec4<f32>(LOWEST), s0_2[0] * params.scale, in0_2_x);
        let in0_3_x = within(j0 + 12u, seen0_x);
        let s0_3_x = select(vec4<f32>(LOWEST), s0_3[0] * params.scale, in0_3_x);
        let in0_0_y = within(j0 + 0u, seen0_y);
        let s0_0_y = select(vec4<f32>(LOWEST), s0_0[1] * params.scale, in0_0_y);
        let in0_1_y = within(j0 + 4u, seen0_y);
        let s0_1_y = select(vec4<f32>(LOWEST), s0_1[1] * params.scale, in0_1_y);
        let in0_2_y = within(j0 + 8u, seen0_y);
        let s0_2_y = select(vec4<f32>(LOWEST), s0_2[1] * params.scale, in0_2_y);
        let in0_3_y = within(j0 + 12u, seen0_y);
        let s0_3_y = select(vec4<f32>(LOWEST), s0_3[1] * params.scale, in0_3_y);
        let in0_0_z = within(j0 + 0u, seen0_z);
        let s0_0_z = select(vec4<f32>(LOWEST), s0_0[2] * params.scale, in0_0_z);
        let in0_1_z = within(j0 + 4u, seen0_z);
        let s0_1_z = select(vec4<f32>(LOWEST), s0_1[2] * params.scale, in0_1_z);
        let in0_2_z = within(j0 + 8u, seen0_z);
        let s0_2_z = select(vec4<f32>(LOWEST), s0_2[2] * params.scale, in0_2_z);
        let in0_3_z = within(j0 + 12u, seen0_z);
        let s0_3_z = select(vec4<f32>(LOWEST), s0_3[2] * params.scale, in0_3_z);
        let in0_0_w = within(j0 + 0u, seen0_w);
        let s0_0_w = select(vec4<f32>(LOWEST), s0_0[3] * params.scale, in0_0_w);
        let in0_1_w = within(j0 + 4u, seen0_w);
        let s0_1_w = select(vec4<f32>(LOWEST), s0_1[3] * params.scale, in0_1_w);
        let in0_2_w = within(j0 + 8u, seen0_w);
        let s0_2_w = select(vec4<f32>(LOWEST), s0_2[3] * params.scale, in0_2_w);
        let in0_3_w = within(j0 + 12u, seen0_w);
        let s0_3_w = select(vec4<f32>(LOWEST), s0_3[3] * params.scale, in0_3_w);
        let in1_0_x = within(j0 + 0u, seen1_x);
        let s1_0_x = select(vec4<f32>(LOWEST), s1_0[0] * params.scale, in1_0_x);
        let in1_1_x = within(j0 + 4u, seen1_x);
        let s1_1_x = select(vec4<f32>(LOWEST), s1_1[0] * params.scale, in1_1_x);
        let in1_2_x = within(j0 + 8u, seen1_x);
        let s1_2_x = select(vec4<f32>(LOWEST), s1_2[0] * params.scale, in1_2_x);
        let in1_3_x = within(j0 + 12u, seen1_x);
        let s1_3_x = select(vec4<f32>(LOWEST), s1_3[0] * params.scale, in1_3_x);
        let in1_0_y = within(j0 + 0u, seen1_y);
        let s1_0_y = select(vec4<f32>(LOWEST), s1_0[1] * params.scale, in1_0_y);
        let in1_1_y = within(j0 + 4u, seen1_y);
        let s1_1_y = select(vec4<f32>(LOWEST), s1_1[1] * params.scale, in1_1_y);
        let in1_2_y = within(j0 + 8u, seen1_y);
        let s1_2_y = select(vec4<f32>(LOWEST), s1_2[1] * params.scale, in1_2_y);
        let in1_3_y = within(j0 + 12u, seen1_y);
        let s1_3_y = select(vec4<f32>(LOWEST), s1_3[1] * params.scale, in1_3_y);
        let in1_0_z = within(j0 + 0u, seen1_z);
        let s1_0_z = select(vec4<f32>(LOWEST), s1_0[2] * params.scale, in1_0_z);
        let in1_1_z = within(j0 + 4u, seen1_z);
        let s1_1_z = select(vec4<f32>(LOWEST), s1_1[2] * params.scale, in1_1_z);
        let in1_2_z = within(j0 + 8u, seen1_z);
        let s1_2_z = select(vec4<f32>(LOWEST), s1_2[2] * params.scale, in1_2_z);
        let in1_3_z = within(j0 + 12u, seen1_z);
        let s1_3_z = select(vec4<f32>(LOWEST), s1_3[2] * params.scale, in1_3_z);
        let in1_0_w = within(j0 + 0u, seen1_w);
        let s1_0_w = select(vec4<f32>(LOWEST), s1_0[3] * params.scale, in1_0_w);
        let in1_1_w = within(j0 + 4u, seen1_w);
        let s1_1_w = select(vec4<f32>(LOWEST), s1_1[3] * params.scale, in1_1_w);
        let in1_2_w = within(j0 + 8u, seen1_w);
        let s1_2_w = select(vec4<f32>(LOWEST), s1_2[3] * params.scale, in1_2_w);
        let in1_3_w = within(j0 + 12u, seen1_w);
        let s1_3_w = select(vec4<f32>(LOWEST), s1_3[3] * params.scale, in1_3_w);
        let larger0 = max(m0, vec4<f32>(
            largest(max(max(s0_0_x, s0_1_x), max(s0_2_x, s0_3_x))),
            largest(max(max(s0_0_y, s0_1_y), max(s0_2_y, s0_3_y))),
            largest(max(max(s0_0_z, s0_1_z), max(s0_2_z, s0_3_z))),
            largest(max(max(s0_0_w, s0_1_w), max(s0_2_w, s0_3_w))),
        ));
        let correction0 = exp(m0 - larger0);
        let larger1 = max(m1, vec4<f32>(
            largest(max(max(s1_0_x, s1_1_x), max(s1_2_x, s1_3_x))),
            largest(max(max(s1_0_y, s1_1_y), max(s1_2_y, s1_3_y))),
            largest(max(max(s1_0_z, s1_1_z), max(s1_2_z, s1_3_z))),
            largest(max(max(s1_0_w, s1_1_w), max(s1_2_w, s1_3_w))),
        ));
        let correction1 = exp(m1 - larger1);
        let p0_0_x = select(vec4<f32>(), exp(s0_0_x - larger0.x), in0_0_x);
        let p0_1_x = select(vec4<f32>(), exp(s0_1_x - larger0.x), in0_1_x);
        let p0_2_x = select(vec4<f32>(), exp(s0_2_x - larger0.x), in0_2_x);
        let p0_3_x = select(vec4<f32>(), exp(s0_3_x - larger0.x), in0_3_x);
        let p0_0_y = select(vec4<f32>(), exp(s0_0_y - larger0.y), in0_0_y);
        let p0_1_y = select(vec4<f32>(), exp(s0_1_y - larger0.y), in0_1_y);
        let p0_2_y = select(vec4<f32>(), exp(s0_2_y - larger0.y), in0_2_y);
        let p0_3_y = select(vec4<f32>(), exp(s0_3_y - larger0.y), in0_3_y);
        let p0_0_z = select(vec4<f32>(), exp(s0_0_z - larger0.z), in0_0_z);
        let p0_1_z = select(vec4<f32>(), exp(s0_1_z - larger0.z), in0_1_z);
        let p0_2_z = select(vec4<f32>(), exp(s0_2_z - larger0.z), in0_2_z);
        let p0_3_z = select(vec4<f32>(), exp(s0_3_z - larger0.z), in0_3_z);
        let p0_0_w = select(vec4<f32>(), exp(s0_0_w - larger0.w), in0_0_w);
        let p0_1_w = select(vec4<f32>(), exp(s0_1_w - larger0.w), in0_1_w);
        let p0_2_w = select(vec4<f32>(), exp(s0_2_w - larger0.w), in0_2_w);
        let p0_3_w = select(vec4<f32>(), exp(s0_3_w - larger0.w), in0_3_w);
        let p1_0_x = select(vec4<f32>(), exp(s1_0_x - larger1.x), in1_0_x);
        let p1_1_x = select(vec4<f32>(), exp(s1_1_x - larger1.x), in1_1_x);
        let p1_2_x = select(vec4<f32>(), exp(s1_2_x - larger1.x), in1_2_x);
        let p1_3_x = select(vec4<f32>(), exp(s1_3_x - larger1.x), in1_3_x);
        let p1_0_y = select(vec4<f32>(), exp(s1_0_y - larger1.y), in1_0_y);
        let p1_1_y = select(vec4<f32>(), exp(s1_1_y - larger1.y), in1_1_y);
        let p1_2_y = select(vec4<f32>(), exp(s1_2_y - larger1.y), in1_2_y);
        let p1_3_y = select(vec4<f32>(), exp(s1_3_y - larger1.y), in1_3_y);
        let p1_0_z = select(vec4<f32>(), exp(s1_0_z - larger1.z), in1_0_z);
        let p1_1_z = select(vec4<f32>(), exp(s1_1_z - larger1.z), in1_1_z);
        let p1_2_z = select(vec4<f32>(), exp(s1_2_z - larger1.z), in1_2_z);
        let p1_3_z = select(vec4<f32>(), exp(s1_3_z - larger1.z), in1_3_z);
        let p1_0_w = select(vec4<f32>(), exp(s1_0_w - larger1.w), in1_0_w);
        let p1_1_w = select(vec4<f32>(), exp(s1_1_w - larger1.w), in1_1_w);
        let p1_2_w = select(vec4<f32>(), exp(s1_2_w - larger1.w), in1_2_w);
        let p1_3_w = select(vec4<f32>(), exp(s1_3_w - larger1.w), in1_3_w);
        for (var d = 0u; d < params.value_dim; d += STEP) {
            let v_0 = of_keys(at_0 + params.head_dim + d);
            let v_1 = of_keys(at_1 + params.head_dim + d);
            let v_2 = of_keys(at_2 + params.head_dim + d);
            let v_3 = of_keys(at_3 + params.head_dim + d);
            // unroll
            for (var e = 0u; e < 4u; e++) {
                if e < STEP {
                    let weighed0 = vec4<f32>(
                        dot(p0_0_x, v_0[e]) + dot(p0_1_x, v_1[e]) + dot(p0_2_x, v_2[e]) + dot(p0_3_x, v_3[e]),
                        dot(p0_0_y, v_0[e]) + dot(p0_1_y, v_1[e]) + dot(p0_2_y, v_2[e]) + dot(p0_3_y, v_3[e]),
                        dot(p0_0_z, v_0[e]) + dot(p0_1_z, v_1[e]) + dot(p0_2_z, v_2[e]) + dot(p0_3_z, v_3[e]),
                        dot(p0_0_w, v_0[e]) + dot(p0_1_w, v_1[e]) + dot(p0_2_w, v_2[e]) + dot(p0_3_w, v_3[e]),
                    );
                    let place0 = 2u * (d + e) + 0u;
                    sums[place0] = sums[place0] * correction0 + weighed0;
                    let weighed1 = vec4<f32>(
                        dot(p1_0_x, v_0[e]) + dot(p1_1_x, v_1[e]) + dot(p1_2_x, v_2[e]) + dot(p1_3_x, v_3[e]),
                        dot(p1_0_y, v_0[e]) + dot(p1_1_y, v_1[e]) + dot(p1_2_y, v_2[e]) + dot(p1_3_y, v_3[e]),
                        dot(p1_0_z, v_0[e]) + dot(p1_1_z, v_1[e]) + dot(p1_2_z, v_2[e]) + dot(p1_3_z, v_3[e]),
                        dot(p1_0_w, v_0[e]) + dot(p1_1_w, v_1[e]) + dot(p1_2_w, v_2[e]) + dot(p1_3_w, v_3[e]),
                    );
                    let place1 = 2u * (d + e) + 1u;
                    sums[place1] = sums[place1] * correction1 + weighed1;
                }
            }
        }
        let one = vec4<f32>(1.0);
        sum0 = sum0 * correction0 + vec4<f32>(
            dot(p0_0_x + p0_1_x + p0_2_x + p0_3_x, one),
            dot(p0_0_y + p0_1_y + p0_2_y + p0_3_y, one),
            dot(p0_0_z + p0_1_z + p0_2_z + p0_3_z, one),
            dot(p0_0_w + p0_1_w + p0_2_w + p0_3_w, one),
        );
        m0 = larger0;
        sum1 = sum1 * correction1 + vec4<f32>(
            dot(p1_0_x + p1_1_x + p1_2_x + p1_3_x, one),
            dot(p1_0_y + p1_1_y + p1_2_y + p1_3_y, one),
            dot(p1_0_z + p1_1_z + p1_2_z + p1_3_z, one),
            dot(p1_0_w + p1_1_w + p1_2_w + p1_3_w, one),
        );
        m1 = larger1;
    }
    let own0 = min(max(count, 0u) - 0u, 4u);
    for (var d = 0u; d < params.value_dim; d++) {
        store(o0 + d, own0, sums[2u * d + 0u] / sum0);
    }
    let log0 = m0 + log(sum0);
    for (var x = 0u; x < own0; x++) {
        lse[stat0[x]] = log0[x];
    }
    let own1 = min(max(count, 4u) - 4u, 4u);
    for (var d = 0u; d < params.value_dim; d++) {
        store(o1 + d, own1, sums[2u * d + 1u] / sum1);
    }
    let log1 = m1 + log(sum1);
    for (var x = 0u; x < own1; x++) {
        lse[stat1[x]] = log1[x];
    }
}

// Writes what the first `count` rows have.
fn store(at: vec4<u32>, count: u32, values: vec4<f32>) {
    for (var x = 0u; x < count; x++) {
        out[at[x]] = values[x];
    }
}
