// The same as `attention_grad_q` for devices whose subgroups are eight invocations, which have sixteen queries of a head: see
// `attention_broadcast`. Heads wider than 64 are computed 64 elements at a time, from the scores on.
//
// Before it stand `parts/attention`, `parts/attention_places`, `parts/attention_blocks`, `parts/attention_broadcast`, and how
// it reads and writes: `parts/attention_grad_broadcast_vectors` or `parts/attention_grad_broadcast_numbers`.
// CPU twin: engine/src/exec/cpu/attention_grad_q.rs

@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read> delta: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

fn of_keys(at: vec4<u32>, left: u32) -> mat4x4<f32> {
    return mat4x4<f32>(of_kv(at.x, left), of_kv(at.y, left), of_kv(at.z, left), of_kv(at.w, left));
}

@compute @workgroup_size(8)
fn main(
    @builtin(subgroup_invocation_id) lane: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let heads = params.groups * params.q_per_group;
    let blocks = (params.queries + OWN_ROWS - 1u) / OWN_ROWS;
    let i = workgroup.x + workgroup.y * workgroups.x;
    if i >= params.batch * blocks * heads {
        return;
    }
    let h = i % heads;
    let group = h / params.q_per_group;
    let sequence = i / heads / blocks;
    let first = i / heads % blocks * OWN_ROWS;
    // Rows beyond the sequence compute its last one again, and write nothing.
    let count = min(OWN_ROWS, params.queries - first);
    let t = sequence * params.queries + first + min(lane + vec4<u32>(0u, 8u, 0u, 8u), vec4<u32>(count - 1u));
    let q_at = query_at(t, h);
    let stat = t * heads + h;
    let o_at = stat * params.value_dim;
    let seen_a = keys_of(t.x);
    let seen_b = keys_of(t.y);
    // Later queries see no less behind and no more before them.
    let begin = subgroupBroadcast(seen_a.x, 0u);
    let end = subgroupBroadcast(seen_b.y, 7u);
    let last = row_of(keys_from(vec4<u32>(params.keys - 1u)), sequence);
    let parts = MET % params.gather;
    let places = MET / params.gather;
    let log_sums = vec2<f32>(lse[stat.x], lse[stat.y]);
    let deltas = vec2<f32>(delta[stat.x], delta[stat.y]);

    for (var chunk = 0u; chunk < params.head_dim; chunk += CHUNK) {
        // Where the elements of this invocation begin, four and four; those beyond the head are its last.
        let own = chunk + 4u * lane + vec2<u32>(0u, CHUNK / 2u);
        let fours = min(own, vec2<u32>((params.head_dim - 1u) / 4u * 4u));
        let left = params.head_dim - fours;
        var sum0 = array<vec4<f32>, 16>();
        var sum1 = array<vec4<f32>, 16>();
        if (params.flags & CARRY) != 0u {
            // unroll
            for (var r = 0u; r < 16u; r++) {
                let row = subgroupBroadcast(select(q_at.y, q_at.x, r < 8u), r % 8u);
                sum0[r] = of_gradient(row + fours.x, left.x);
                if IS_WIDE {
                    sum1[r] = of_gradient(row + fours.y, left.y);
                }
            }
        }
        var keys = keys_from(begin + 4u * lane + LANES);
        for (var j0 = begin; j0 < end; j0 += MET) {
            let j = j0 + 4u * lane;
            let rows = select(row_of(keys, sequence), last, j + LANES >= vec4<u32>(params.keys));
            let k_at = key_at(rows, group);
            let v_at = k_at + params.head_dim;
            var s = array<vec4<f32>, 16>();
            for (var d = 0u; d < params.head_dim; d += 4u) {
                let more = params.head_dim - d;
                let q_a = of_qkv(q_at.x + d, more);
                let q_b = of_qkv(q_at.y + d, more);
                let k = transpose(of_keys(k_at + d, more));
                // unroll
                for (var r = 0u; r < 8u; r++) {
                    s[r] += k * subgroupBroadcast(q_a, r);
                    s[r + 8u] += k * subgroupBroadcast(q_b, r);
                }
            }
            var dp = array<vec4<f32>, 16>();
            for (var d = 0u; d < params.value_dim; d += 4u) {
                let more = params.value_dim - d;
                let o_a = of_dout(o_at.x + d, more);
                let o_b = of_dout(o_at.y + d, more);
                let v = transpose(of_keys(v_at + d, more));
                // unroll
                for (var r = 0u; r < 8u; r++) {
                    dp[r] += v * subgroupBroadcast(o_a, r);
                    dp[r + 8u] += v * subgroupBroadcast(o_b, r);
                }
            }
            // unroll
            for (var r = 0u; r < 16u; r++) {
                let inside = within(j, subgroupBroadcast(select(seen_b, seen_a, r < 8u), r % 8u));
                let log_sum = subgroupBroadcast(select(log_sums.y, log_sums.x, r < 8u), r % 8u);
                let of_row = subgroupBroadcast(select(deltas.y, deltas.x, r < 8u), r % 8u);
                let p = select(vec4<f32>(), exp(s[r] * params.scale - log_sum), inside);
                s[r] = p * (dp[r] - of_row) * params.scale;
            }
            for (var owner = 0u; owner < INVOCATIONS; owner++) {
                let row = subgroupShuffle(k_at, owner);
                let w0 = of_keys(row + fours.x, left.x);
                var w1 = mat4x4<f32>();
                if IS_WIDE {
                    w1 = of_keys(row + fours.y, left.y);
                }
                // unroll
                for (var r = 0u; r < 16u; r++) {
                    let ds = subgroupShuffle(s[r], owner);
                    sum0[r] += w0 * ds;
                    if IS_WIDE {
                        sum1[r] += w1 * ds;
                    }
                }
            }
            keys = behind(keys, parts, places);
        }
        let has = own < vec2<u32>(params.head_dim);
        // unroll
        for (var r = 0u; r < 16u; r++) {
            let row = subgroupBroadcast(select(q_at.y, q_at.x, r < 8u), r % 8u);
            if r < count && has.x {
                write_gradient(row + fours.x, left.x, sum0[r]);
            }
            if IS_WIDE && r < count && has.y {
                write_gradient(row + fours.y, left.y, sum1[r]);
            }
        }
    }
}
