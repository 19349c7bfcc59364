// The same as `attention` for devices whose subgroups are eight invocations. A subgroup has sixteen queries of a head. Of the
// scores, an invocation has those of four keys out of 32; of the result, eight elements of a head, or four of a narrow one.
// What is read of a query is read once for all, and shown to the others; so are the weights of keys. On software, where a read
// is a loop over the invocations, that is what counts.
//
// Heads wider than 64 are computed 64 elements at a time, from the scores on.
//
// Before it stand `parts/attention`, `parts/attention_places`, `parts/attention_blocks`, `parts/attention_broadcast`, and how
// it reads and writes: `parts/attention_broadcast_vectors` or `parts/attention_broadcast_numbers`.
// CPU twin: engine/src/exec/cpu/attention.rs

@group(0) @binding(3) var<storage, read_write> lse: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

const LOWEST: f32 = -3.0e38;
const ONE: vec4<f32> = vec4<f32>(1.0);

fn largest(x: vec4<f32>) -> f32 {
    return max(max(x.x, x.y), max(x.z, x.w));
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
    let seen_a = keys_of(t.x);
    let seen_b = keys_of(t.y);
    // Later queries see no less behind and no more before them.
    let begin = subgroupBroadcast(seen_a.x, 0u);
    let end = subgroupBroadcast(seen_b.y, 7u);
    let last = row_of(keys_from(vec4<u32>(params.keys - 1u)), sequence);
    let parts = MET % params.gather;
    let places = MET / params.gather;
    let o_at = stat * params.value_dim;
    let carries = (params.flags & CARRY) != 0u;

    for (var chunk = 0u; chunk < params.value_dim; chunk += CHUNK) {
        // Where the elements of this invocation begin, four and four; those beyond the head are its last.
        let own = chunk + 4u * lane + vec2<u32>(0u, CHUNK / 2u);
        let fours = min(own, vec2<u32>((params.value_dim - 1u) / 4u * 4u));
        let left = params.value_dim - fours;
        var m = array<f32, 16>();
        var sum = array<f32, 16>();
        var o0 = array<vec4<f32>, 16>();
        var o1 = array<vec4<f32>, 16>();
        let known = select(vec2<f32>(LOWEST), vec2<f32>(lse[stat.x], lse[stat.y]), carries);
        // unroll
        for (var r = 0u; r < 8u; r++) {
            m[r] = subgroupBroadcast(known.x, r);
            m[r + 8u] = subgroupBroadcast(known.y, r);
        }
        if carries {
            // What all invocations have of the sum, one of them has.
            let of_first = select(0.0, 1.0, lane == 0u);
            // unroll
            for (var r = 0u; r < 8u; r++) {
                sum[r] = of_first;
                sum[r + 8u] = of_first;
                let row_a = subgroupBroadcast(o_at.x, r);
                let row_b = subgroupBroadcast(o_at.y, r);
                o0[r] = of_out(row_a + fours.x, left.x);
                o0[r + 8u] = of_out(row_b + fours.x, left.x);
                if IS_WIDE {
                    o1[r] = of_out(row_a + fours.y, left.y);
                    o1[r + 8u] = of_out(row_b + fours.y, left.y);
                }
            }
        }
        var keys = keys_from(begin + 4u * lane + LANES);
        for (var j0 = begin; j0 < end; j0 += MET) {
            let j = j0 + 4u * lane;
            let rows = select(row_of(keys, sequence), last, j + LANES >= vec4<u32>(params.keys));
            let k_at = key_at(rows, group);
            var s = array<vec4<f32>, 16>();
            for (var d = 0u; d < params.head_dim; d += 4u) {
                let more = params.head_dim - d;
                let q_a = of_queries(q_at.x + d, more);
                let q_b = of_queries(q_at.y + d, more);
                let k = transpose(of_keys(k_at + d, more));
                // unroll
                for (var r = 0u; r < 8u; r++) {
                    s[r] += k * subgroupBroadcast(q_a, r);
                    s[r + 8u] += k * subgroupBroadcast(q_b, r);
                }
            }
            // unroll
            for (var r = 0u; r < 16u; r++) {
                let seen = subgroupBroadcast(select(seen_b, seen_a, r < 8u), r % 8u);
                let inside = within(j, seen);
                let scores = select(vec4<f32>(LOWEST), s[r] * params.scale, inside);
                let larger = max(m[r], subgroupMax(largest(scores)));
                let correction = exp(m[r] - larger);
                let p = select(vec4<f32>(), exp(scores - larger), inside);
                m[r] = larger;
                sum[r] = sum[r] * correction + dot(p, ONE);
                o0[r] *= correction;
                o1[r] *= correction;
                s[r] = p;
            }
            let v_at = k_at + params.head_dim;
            for (var owner = 0u; owner < INVOCATIONS; owner++) {
                let row = subgroupShuffle(v_at, owner);
                let w0 = of_keys(row + fours.x, left.x);
                var w1 = mat4x4<f32>();
                if IS_WIDE {
                    w1 = of_keys(row + fours.y, left.y);
                }
                // unroll
                for (var r = 0u; r < 16u; r++) {
                    let p = subgroupShuffle(s[r], owner);
                    o0[r] += w0 * p;
                    if IS_WIDE {
                        o1[r] += w1 * p;
                    }
                }
            }
            keys = behind(keys, parts, places);
        }
        let has = own < vec2<u32>(params.value_dim);
        var logarithms = vec2<f32>();
        // unroll
        for (var r = 0u; r < 16u; r++) {
            let all = subgroupAdd(sum[r]);
            let row = subgroupBroadcast(select(o_at.y, o_at.x, r < 8u), r % 8u);
            if r < count && has.x {
                write_out(row + fours.x, left.x, o0[r] / all);
            }
            if IS_WIDE && r < count && has.y {
                write_out(row + fours.y, left.y, o1[r] / all);
            }
            if lane == r % 8u {
                logarithms[r / 8u] = m[r] + log(all);
            }
        }
        // They are read again for the next elements.
        let is_last = chunk + CHUNK >= params.value_dim;
        if is_last && lane < count {
            lse[stat.x] = logarithms.x;
        }
        if is_last && lane + INVOCATIONS < count {
            lse[stat.y] = logarithms.y;
        }
    }
}
