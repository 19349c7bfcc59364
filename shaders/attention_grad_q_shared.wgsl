// The same as `attention_grad_q`, by workgroups that have four queries of a head: for devices that run many at once.
//
// Before it stand `parts/attention`, `parts/attention_places`, `parts/attention_shared`.
// CPU twin: engine/src/exec/cpu/attention_grad_q.rs

@group(0) @binding(0) var<storage, read> qkv: array<f32>;
@group(0) @binding(1) var<storage, read> kv: array<f32>;
@group(0) @binding(2) var<storage, read> dout: array<f32>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read> delta: array<f32>;
@group(0) @binding(5) var<storage, read_write> dqkv: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

// Gradients of the scores of the four queries with 64 keys, and where these begin.
var<workgroup> of_keys: array<vec4<f32>, LANES>;
var<workgroup> keys_at: array<u32, LANES>;

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
    let log_sum = vec4<f32>(lse[stat.x], lse[stat.y], lse[stat.z], lse[stat.w]);
    let deltas = vec4<f32>(delta[stat.x], delta[stat.y], delta[stat.z], delta[stat.w]);
    var sums = array<vec4<f32>, SUMS>();
    if (params.flags & CARRY) != 0u {
        for (var x = 0u; lane + x * LANES < params.head_dim; x++) {
            let d = lane + x * LANES;
            sums[x] = vec4<f32>(dqkv[q.x + d], dqkv[q.y + d], dqkv[q.z + d], dqkv[q.w + d]);
        }
    }
    for (var j0 = begin; j0 < end; j0 += LANES) {
        let j = j0 + lane;
        let k = key_at(key_row(sequence, vec4<u32>(min(j, params.keys - 1u))), h / params.q_per_group).x;
        var s = vec4<f32>();
        for (var d = 0u; d < params.head_dim; d++) {
            s += vec4<f32>(qkv[q.x + d], qkv[q.y + d], qkv[q.z + d], qkv[q.w + d]) * kv[k + d];
        }
        var dp = vec4<f32>();
        for (var d = 0u; d < params.value_dim; d++) {
            let x = vec4<f32>(dout[o.x + d], dout[o.y + d], dout[o.z + d], dout[o.w + d]);
            dp += x * kv[k + params.head_dim + d];
        }
        let counts = (vec4<u32>(j) >= starts) & (vec4<u32>(j) < ends);
        let p = exp(s * params.scale - log_sum);
        workgroupBarrier();
        of_keys[lane] = select(vec4<f32>(), p * (dp - deltas) * params.scale, counts);
        keys_at[lane] = k;
        workgroupBarrier();
        let met = min(LANES, end - j0);
        for (var x = 0u; lane + x * LANES < params.head_dim; x++) {
            var sum = sums[x];
            for (var other = 0u; other < met; other++) {
                sum += of_keys[other] * kv[keys_at[other] + lane + x * LANES];
            }
            sums[x] = sum;
        }
    }
    for (var y = 0u; y < count; y++) {
        for (var x = 0u; lane + x * LANES < params.head_dim; x++) {
            dqkv[q[y] + lane + x * LANES] = sums[x][y];
        }
    }
}
