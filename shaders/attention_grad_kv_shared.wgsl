// The same as `attention_grad_kv`, by workgroups that have four keys of a head: for devices that run many at once.
//
// Before it stand `parts/attention`, `parts/attention_places`, `parts/attention_shared`.
// CPU twin: engine/src/exec/cpu/attention_grad_kv.rs

@group(0) @binding(0) var<storage, read> qkv: array<f32>;
@group(0) @binding(1) var<storage, read> kv: array<f32>;
@group(0) @binding(2) var<storage, read> dout: array<f32>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read> delta: array<f32>;
@group(0) @binding(5) var<storage, read_write> dkv: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

// Weights of 64 queries for the four keys, gradients of their scores, and where the queries and their gradients begin.
var<workgroup> weights: array<vec4<f32>, LANES>;
var<workgroup> of_scores: array<vec4<f32>, LANES>;
var<workgroup> queries_at: array<u32, LANES>;
var<workgroup> outputs_at: array<u32, LANES>;

@compute @workgroup_size(64)
fn main(
    @builtin(local_invocation_index) lane: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let heads = params.groups * params.q_per_group;
    let blocks = (params.keys + OWN - 1u) / OWN;
    let i = group.x + group.y * workgroups.x;
    if i >= params.batch * blocks * params.groups {
        return;
    }
    let of_group = i % params.groups;
    let sequence = i / params.groups / blocks;
    let first = i / params.groups % blocks * OWN;
    // Keys beyond the last compute it again, and write nothing.
    let count = min(OWN, params.keys - first);
    let j = first + min(FOUR, vec4<u32>(count - 1u));
    let k = key_at(key_row(sequence, j), of_group);
    let v = k + params.head_dim;
    let seen_x = queries_of(j.x);
    let seen_y = queries_of(j.y);
    let seen_z = queries_of(j.z);
    let seen_w = queries_of(j.w);
    let starts = vec4<u32>(seen_x.x, seen_y.x, seen_z.x, seen_w.x);
    let ends = vec4<u32>(seen_x.y, seen_y.y, seen_z.y, seen_w.y);
    let begin = min(min(starts.x, starts.y), min(starts.z, starts.w));
    let end = max(max(ends.x, ends.y), max(ends.z, ends.w));
    var of_k = array<vec4<f32>, SUMS>();
    var of_v = array<vec4<f32>, SUMS>();
    if (params.flags & CARRY) != 0u {
        for (var x = 0u; lane + x * LANES < params.head_dim; x++) {
            let d = k + lane + x * LANES;
            of_k[x] = vec4<f32>(dkv[d.x], dkv[d.y], dkv[d.z], dkv[d.w]);
        }
        for (var x = 0u; lane + x * LANES < params.value_dim; x++) {
            let d = v + lane + x * LANES;
            of_v[x] = vec4<f32>(dkv[d.x], dkv[d.y], dkv[d.z], dkv[d.w]);
        }
    }
    for (var h = of_group * params.q_per_group; h < (of_group + 1u) * params.q_per_group; h++) {
        for (var i0 = begin; i0 < end; i0 += LANES) {
            let query = i0 + lane;
            let t = sequence * params.queries + min(query, params.queries - 1u);
            let q = query_at(vec4<u32>(t), h).x;
            let stat = t * heads + h;
            let o = stat * params.value_dim;
            var s = vec4<f32>();
            for (var d = 0u; d < params.head_dim; d++) {
                s += vec4<f32>(kv[k.x + d], kv[k.y + d], kv[k.z + d], kv[k.w + d]) * qkv[q + d];
            }
            var dp = vec4<f32>();
            for (var d = 0u; d < params.value_dim; d++) {
                dp += vec4<f32>(kv[v.x + d], kv[v.y + d], kv[v.z + d], kv[v.w + d]) * dout[o + d];
            }
            let counts = (vec4<u32>(query) >= starts) & (vec4<u32>(query) < ends);
            let p = select(vec4<f32>(), exp(s * params.scale - lse[stat]), counts);
            workgroupBarrier();
            weights[lane] = p;
            of_scores[lane] = p * (dp - delta[stat]) * params.scale;
            queries_at[lane] = q;
            outputs_at[lane] = o;
            workgroupBarrier();
            let met = min(LANES, end - i0);
            for (var x = 0u; lane + x * LANES < params.head_dim; x++) {
                var sum = of_k[x];
                for (var other = 0u; other < met; other++) {
                    sum += of_scores[other] * qkv[queries_at[other] + lane + x * LANES];
                }
                of_k[x] = sum;
            }
            for (var x = 0u; lane + x * LANES < params.value_dim; x++) {
                var sum = of_v[x];
                for (var other = 0u; other < met; other++) {
                    sum += weights[other] * dout[outputs_at[other] + lane + x * LANES];
                }
                of_v[x] = sum;
            }
        }
    }
    for (var y = 0u; y < count; y++) {
        for (var x = 0u; lane + x * LANES < params.head_dim; x++) {
            dkv[k[y] + lane + x * LANES] = of_k[x][y];
        }
        for (var x = 0u; lane + x * LANES < params.value_dim; x++) {
            dkv[v[y] + lane + x * LANES] = of_v[x][y];
        }
    }
}
