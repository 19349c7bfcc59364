// Packed dot products without touching memory, to find the peak rate: eight independent chains of
// `x = x + dot(word, word + x)` of four integers in eight bits, and their sum. Integers wrap around.
//
// `out` is `[n]`.
//
// CPU twin: engine/src/exec/cpu/peak_int8.rs

struct Params {
    n: u32,
    rounds: u32,
    word: u32,
}

@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@group(0) @binding(1) var<uniform> params: Params;

fn next(x: i32) -> i32 {
    return x + dot4I8Packed(params.word, params.word + bitcast<u32>(x));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.n {
        return;
    }
    let start = i32(i % 7u);
    var x0 = start;
    var x1 = start + 1;
    var x2 = start + 2;
    var x3 = start + 3;
    var x4 = start + 4;
    var x5 = start + 5;
    var x6 = start + 6;
    var x7 = start + 7;
    for (var round = 0u; round < params.rounds; round++) {
        x0 = next(x0);
        x1 = next(x1);
        x2 = next(x2);
        x3 = next(x3);
        x4 = next(x4);
        x5 = next(x5);
        x6 = next(x6);
        x7 = next(x7);
    }
    out[i] = bitcast<u32>(x0 + x1 + x2 + x3 + x4 + x5 + x6 + x7);
}
