// The same as `attention_grad_kv` for devices whose subgroups are eight invocations, which have sixteen keys of a group: see
// `attention_broadcast`. Heads wider than 64 are computed 64 elements at a time, from the scores on.
//
// Before it stand `parts/attention`, `parts/attention_places`, `parts/attention_blocks`, `parts/attention_broadcast`, and how
// it reads and writes: `parts/attention_grad_broadcast_vectors` or `parts/attention_grad_broadcast_numbers`.
// CPU twin: engine/src/exec/cpu/attention_grad_kv.rs

@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read> delta: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

fn of_queries(at: vec4<u32>, left: u32) -> mat4x4<f32> {
    return mat4x4<f32>(of_qkv(at.x, left), of_qkv(at.y, left), of_qkv(at.z, left), of_qkv(at.w, left));
}

fn of_outputs(at: vec4<u32>, left: u32) -> mat4x4<f32> {
    return mat4x4<f32>(of_dout(at.x, left), of_dout(at.y, left), of_dout(at.z, left), of_dout(at.w, left));
}

@compute @workgroup_size(8)
fn main(
    @builtin(subgroup_invocation_id) lane: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let heads = params.groups * params.q_per_group;
    let blocks = (params.keys + OWN_ROWS - 1u) / OWN_ROWS;
    let i = workgroup.x + workgroup.y * workgroups.x;
    if i >= params.batch * blocks * params.groups {
        return;
    }
    let group = i % params.groups;
    let sequence = i / params.groups / blocks;
    let first = i / params.groups % blocks * OWN_ROWS;
    // Keys beyond the last compute it again, and write nothing.
    let count = min(OWN_ROWS, params.keys - first);
    let j = first + min(lane + vec4<u32>(0u, 8u, 0u, 8u), vec4<u32>(count - 1u));
    let k_at = key_at(key_row(sequence, j), group);
    let v_at = k_at + params.head_dim;
    let seen_a = queries_of(j.x);
    let seen_b = queries_of(j.y);
    // Later keys are seen by no earlier queries.
    let begin = subgroupBroadcast(seen_a.x, 0u);
    let end = subgroupBroadcast(seen_b.y, 7u);

    for (var chunk = 0u; chunk < max(params.head_dim, params.value_dim); chunk += CHUNK) {
        // Where the elements of this invocation begin, four and four; those beyond the head are its last.
        let own = chunk + 4u * lane + vec2<u32>(0u, CHUNK / 2u);
        let of_k = min(own, vec2<u32>((params.head_dim - 1u) / 4u * 4u));
        let of_v = min(own, vec2<u32>((params.value_dim - 1u) / 4u * 4u));
        let left_k = params.head_dim - of_k;
        let left_v = params.value_dim - of_v;
        var dk0 = array<vec4<f32>, 16>();
        var dk1 = array<vec4<f32>, 16>();
        var dv0 = array<vec4<f32>, 16>();
        var dv1 = array<vec4<f32>, 16>();
        if (params.flags & CARRY) != 0u {
            // unroll
            for (var r = 0u; r < 16u; r++) {
                let row = subgroupBroadcast(select(k_at.y, k_at.x, r < 8u), r % 8u);
                dk0[r] = of_gradient(row + of_k.x, left_k.x);
                dv0[r] = of_gradient(row + params.head_dim + of_v.x, left_v.x);
                if IS_WIDE {
                    dk1[r] = of_gradient(row + of_k.y, left_k.y);
                    dv1[r] = of_gradient(row + params.head_dim + of_v.y, left_v.y);
                }
            }
        }
        for (var h = group * params.q_per_group; h < (group + 1u) * params.q_per_group; h++) {
            for (var i0 = begin; i0 < end; i0 += MET) {
                let i = i0 + 4u * lane;
                // Queries beyond the last are computed as the last one, without weight.
                let t = sequence * params.queries + min(i + LANES, vec4<u32>(params.queries - 1u));
                let q_at = query_at(t, h);
                let stat = t * heads + h;
                let o_at = stat * params.value_dim;
                let log_sums = vec4<f32>(lse[stat.x], lse[stat.y], lse[stat.z], lse[stat.w]);
                let deltas = vec4<f32>(delta[stat.x], delta[stat.y], delta[stat.z], delta[stat.w]);
                var s = array<vec4<f32>, 16>();
                for (var d = 0u; d < params.head_dim; d += 4u) {
                    let more = params.head_dim - d;
                    let k_a = of_kv(k_at.x + d, more);
                    let k_b = of_kv(k_at.y + d, more);
                    let q = transpose(of_queries(q_at + d, more));
                    // unroll
                    for (var r = 0u; r < 8u; r++) {
                        s[r] += q * subgroupBroadcast(k_a, r);
                        s[r + 8u] += q * subgroupBroadcast(k_b, r);
                    }
                }
                var dp = array<vec4<f32>, 16>();
                for (var d = 0u; d < params.value_dim; d += 4u) {
                    let more = params.value_dim - d;
                    let v_a = of_kv(v_at.x + d, more);
                    let v_b = of_kv(v_at.y + d, more);
                    let o = transpose(of_outputs(o_at + d, more));
                    // unroll
                    for (var r = 0u; r < 8u; r++) {
                        dp[r] += o * subgroupBroadcast(v_a, r);
                        dp[r + 8u] += o * subgroupBroadcast(v_b, r);
                    }
                }
                // unroll
                for (var r = 0u; r < 16u; r++) {
                    let inside = within(i, subgroupBroadcast(select(seen_b, seen_a, r < 8u), r % 8u));
                    let p = select(vec4<f32>(), exp(s[r] * params.scale - log_sums), inside);
                    s[r] = p * (dp[r] - deltas) * params.scale;
                    dp[r] = p;
                }
                for (var owner = 0u; owner < INVOCATIONS; owner++) {
                    let q_row = subgroupShuffle(q_at, owner);
                    let o_row = subgroupShuffle(o_at, owner);
                    let q0 = of_queries(q_row + of_k.x, left_k.x);
                    let o0 = of_outputs(o_row + of_v.x, left_v.x);
                    var q1 = mat4x4<f32>();
                    var o1 = mat4x4<f32>();
                    if IS_WIDE {
                        q1 = of_queries(q_row + of_k.y, left_k.y);
                        o1 = of_outputs(o_row + of_v.y, left_v.y);
                    }
                    // unroll
                    for (var r = 0u; r < 16u; r++) {
                        let ds = subgroupShuffle(s[r], owner);
                        let p = subgroupShuffle(dp[r], owner);
                        dk0[r] += q0 * ds;
                        dv0[r] += o0 * p;
                        if IS_WIDE {
                            dk1[r] += q1 * ds;
                            dv1[r] += o1 * p;
                        }
                    }
                }
            }
        }
        let has_k = own < vec2<u32>(params.head_dim);
        let has_v = own < vec2<u32>(params.value_dim);
        // unroll
        for (var r = 0u; r < 16u; r++) {
            let row = subgroupBroadcast(select(k_at.y, k_at.x, r < 8u), r % 8u);
            let v_row = row + params.head_dim;
            if r < count && has_k.x {
                write_gradient(row + of_k.x, left_k.x, dk0[r]);
            }
            if r < count && has_v.x {
                write_gradient(v_row + of_v.x, left_v.x, dv0[r]);
            }
            if IS_WIDE && r < count && has_k.y {
                write_gradient(row + of_k.y, left_k.y, dk1[r]);
            }
            if IS_WIDE && r < count && has_v.y {
                write_gradient(v_row + of_v.y, left_v.y, dv1[r]);
            }
        }
    }
}
