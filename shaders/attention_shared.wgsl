// The same as `attention`, by workgroups that have four queries of a head: for devices that run many at once.
//
// Before it stand `parts/attention`, `parts/attention_places`, `parts/attention_shared`.
// CPU twin: engine/src/exec/cpu/attention.rs

@group(0) @binding(0) var<storage, read> qkv: array<f32>;
@group(0) @binding(1) var<storage, read> kv: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<storage, read_write> lse: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

// Scores, then weights, of 64 keys for the four queries, and where their values begin.
var<workgroup> of_keys: array<vec4<f32>, LANES>;
var<workgroup> values_at: array<u32, LANES>;

const LOWEST: f32 = -3.0e38;

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let heads = params.groups * params.q_per_group;
    let blocks = (params.queries + OWN - 1u) / OWN;
    let i = group.x + group.y * workgroups.x;
    if i >= params.batch * blocks * heads {
        return;
    }
    let h = i % heads;
    let sequence = i / heads / blocks;
    let first = i / heads % blocks * OWN;
    // Rows beyond the sequence compute its last one again, and write nothing.
    let count = min(OWN, params.queries - first);
    let t = sequence * params.queries + first + min(FOUR, vec4<u32>(count - 1u));
    let q = query_at(t, h);
    let stat = t * heads + h;
    let o = stat * params.value_dim;
    let seen_x = keys_of(t.x);
    let seen_y = keys_of(t.y);
    let seen_z = keys_of(t.z);
    let seen_w = keys_of(t.w);
    let starts = vec4<u32>(seen_x.x, seen_y.x, seen_z.x, seen_w.x);
    let ends = vec4<u32>(seen_x.y, seen_y.y, seen_z.y, seen_w.y);
    // Later queries see no less behind and no more before them.
    let begin = seen_x.x;
    let end = seen_w.y;
    var sums = array<vec4<f32>, SUMS>();
    var m = vec4<f32>(LOWEST);
    var sum = vec4<f32>();
    if (params.flags & CARRY) != 0u {
        m = vec4<f32>(lse[stat.x], lse[stat.y], lse[stat.z], lse[stat.w]);
        sum = vec4<f32>(1.0);
        for (var x = 0u; lane + x * LANES < params.value_dim; x++) {
            let d = lane + x * LANES;
            sums[x] = vec4<f32>(out[o.x + d], out[o.y + d], out[o.z + d], out[o.w + d]);
        }
    }
    for (var j0 = begin; j0 < end; j0 += LANES) {
        let j = j0 + lane;
        let k = key_at(key_row(sequence, vec4<u32>(min(j, params.keys - 1u))), h / params.q_per_group).x;
        var s = vec4<f32>();
        for (var d = 0u; d < params.head_dim; d++) {
            s += vec4<f32>(qkv[q.x + d], qkv[q.y + d], qkv[q.z + d], qkv[q.w + d]) * kv[k + d];
        }
        let counts = (vec4<u32>(j) >= starts) & (vec4<u32>(j) < ends);
        s = select(vec4<f32>(LOWEST), s * params.scale, counts);
        workgroupBarrier();
        of_keys[lane] = s;
        values_at[lane] = k + params.head_dim;
        workgroupBarrier();
        var larger = m;
        for (var other = 0u; other < LANES; other++) {
            larger = max(larger, of_keys[other]);
        }
        let correction = exp(m - larger);
        workgroupBarrier();
        of_keys[lane] = select(vec4<f32>(), exp(s - larger), counts);
        workgroupBarrier();
        m = larger;
        sum *= correction;
        let met = min(LANES, end - j0);
        for (var other = 0u; other < met; other++) {
            sum += of_keys[other];
        }
        for (var x = 0u; lane + x * LANES < params.value_dim; x++) {
            var weighed = sums[x] * correction;
            for (var other = 0u; other < met; other++) {
                weighed += of_keys[other] * kv[values_at[other] + lane + x * LANES];
            }
            sums[x] = weighed;
        }
    }
    for (var y = 0u; y < count; y++) {
        for (var x = 0u; lane + x * LANES < params.value_dim; x++) {
            out[o[y] + lane + x * LANES] = sums[x][y] / sum[y];
        }
    }
    // All have read what was carried.
    storageBarrier();
    if lane < count {
        lse[stat[lane]] = m[lane] + log(sum[lane]);
    }
}
