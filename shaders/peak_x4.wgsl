// The peak rate of fp32, four numbers in a step of a chain: see `parts/peak`.
//
// `out` is `[n]`.
//
// Before it stand `parts/peak_numbers`, `parts/peak`.
// CPU twin: engine/src/exec/cpu/peak.rs

alias Number = vec4<f32>;

// The others lie below the first, so that each is computed and the first is what is written.
fn first(start: u32) -> Number {
    return vec4<f32>(f32(start)) - vec4<f32>(0.0, 1.0, 2.0, 3.0);
}

fn next(x: Number) -> Number {
    return fma(x, vec4<f32>(params.factor), vec4<f32>(1.0));
}

fn written(sum: Number) -> f32 {
    return max(max(sum.x, sum.y), max(sum.z, sum.w));
}
