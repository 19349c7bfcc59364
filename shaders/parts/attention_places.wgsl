// Where queries and keys lie, of four at a time.

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
