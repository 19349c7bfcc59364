// Multiplies and adds without touching memory, to find the peak rate: eight independent chains of
// `x = x * factor + 1` for every invocation, and their sum. What stands behind it says what a `Number` is, of how many
// components, the `first` of a chain, the `next` in it, and what is `written` of the sum.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.n {
        return;
    }
    let start = i % 7u;
    var x0 = first(start);
    var x1 = first(start + 1u);
    var x2 = first(start + 2u);
    var x3 = first(start + 3u);
    var x4 = first(start + 4u);
    var x5 = first(start + 5u);
    var x6 = first(start + 6u);
    var x7 = first(start + 7u);
    for (var round = 0u; round < params.rounds; round += 4u) {
        // unroll
        for (var four = 0u; four < 4u; four++) {
            x0 = next(x0);
            x1 = next(x1);
            x2 = next(x2);
            x3 = next(x3);
            x4 = next(x4);
            x5 = next(x5);
            x6 = next(x6);
            x7 = next(x7);
        }
    }
    out[i] = written(x0 + x1 + x2 + x3 + x4 + x5 + x6 + x7);
}
