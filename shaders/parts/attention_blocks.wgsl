// What kernels of attention share whose invocations have four queries, or keys.

// Queries, or keys, of an invocation, and keys, or queries, that they meet at once: fewer reads for each multiplication.
const OWN: u32 = 4u;
const BLOCK: u32 = 8u;
const LANES: vec4<u32> = vec4<u32>(0u, 1u, 2u, 3u);

// The rows of keys j of a sequence.
fn key_row(sequence: u32, j: vec4<u32>) -> vec4<u32> {
    let of_rank = params.keys / params.gather;
    return j % params.gather * params.batch * of_rank + sequence * of_rank + j / params.gather;
}

// Where the queries of a head begin: each group holds its query heads, a key head, a value head.
fn query_at(t: vec4<u32>, h: u32) -> vec4<u32> {
    let group = (params.q_per_group + 1u) * params.head_dim + params.value_dim;
    return (t * params.groups + h / params.q_per_group) * group + h % params.q_per_group * params.head_dim;
}

// Where the keys of a group begin in `kv`; their values follow.
fn key_at(row: vec4<u32>, group: u32) -> vec4<u32> {
    let queries = select(0u, params.q_per_group * params.head_dim, (params.flags & APART) == 0u);
    return (row * params.groups + group) * (queries + params.head_dim + params.value_dim) + queries;
}

// What four numbers give with four others: a column for each of the first.
fn outer(x: vec4<f32>, y: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(x.x * y, x.y * y, x.z * y, x.w * y);
}

// Which of four tokens of a sequence from first on lie from x to before y.
fn within(first: u32, seen: vec2<u32>) -> vec4<bool> {
    return (first + LANES >= vec4<u32>(seen.x)) & (first + LANES < vec4<u32>(seen.y));
}
