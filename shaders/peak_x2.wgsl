// Multiplies and adds without touching memory, to find the peak rate: eight independent chains of
// `x = x * factor + 1` for every invocation, each of as many numbers as the shader's vectors hold, and their sum.
//
// `out` is `[n]`.
//
// CPU twin: engine/src/exec/cpu/peak.rs

struct Params {
    n: u32,
    rounds: u32,
    factor: f32,
}

@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(0) @binding(1) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.n {
        return;
    }
    let start = f32(i % 7u);
    let factor = vec2<f32>(params.factor);
    let one = vec2<f32>(1.0);
    // Below the first, so that each is computed and the first is what is written.
    let lower = vec2<f32>(0.0, 1.0);
    var x0 = vec2<f32>(start + 0.0) - lower;
    var x1 = vec2<f32>(start + 1.0) - lower;
    var x2 = vec2<f32>(start + 2.0) - lower;
    var x3 = vec2<f32>(start + 3.0) - lower;
    var x4 = vec2<f32>(start + 4.0) - lower;
    var x5 = vec2<f32>(start + 5.0) - lower;
    var x6 = vec2<f32>(start + 6.0) - lower;
    var x7 = vec2<f32>(start + 7.0) - lower;
    for (var round = 0u; round < params.rounds; round += 4u) {
        // unroll
        for (var four = 0u; four < 4u; four++) {
            x0 = fma(x0, factor, one);
            x1 = fma(x1, factor, one);
            x2 = fma(x2, factor, one);
            x3 = fma(x3, factor, one);
            x4 = fma(x4, factor, one);
            x5 = fma(x5, factor, one);
            x6 = fma(x6, factor, one);
            x7 = fma(x7, factor, one);
        }
    }
    let sum = x0 + x1 + x2 + x3 + x4 + x5 + x6 + x7;
    out[i] = max(sum.x, sum.y);
}
