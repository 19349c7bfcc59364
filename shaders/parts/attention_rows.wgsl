// Where heads lie in fused rows, for kernels of attention that are not fused.

// Where the query of head h begins in row t of fused rows, and the key of its group, which its value follows.
fn query_at(t: u32, h: u32) -> u32 {
    return group_at(t, h) + h % params.q_per_group * params.head_dim;
}

fn key_at(t: u32, h: u32) -> u32 {
    return group_at(t, h) + params.q_per_group * params.head_dim;
}

fn group_at(t: u32, h: u32) -> u32 {
    let width = (params.q_per_group + 1u) * params.head_dim + params.value_dim;
    return (t * params.groups + h / params.q_per_group) * width;
}
