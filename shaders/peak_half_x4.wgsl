// The peak rate of fp16, four numbers in a step of a chain: see `parts/peak`.
//
// `out` is `[n]`.
//
// Before it stand `parts/half`, `parts/peak_numbers`, `parts/peak`.
// CPU twin: engine/src/exec/cpu/peak_half.rs

alias Number = vec4<f16>;

// The others lie below the first, so that each is computed and the first is what is written.
fn first(start: u32) -> Number {
    return vec4<f16>(f16(start)) - vec4<f16>(0.0h, 1.0h, 2.0h, 3.0h);
}

fn next(x: Number) -> Number {
    return fma(x, vec4<f16>(f16(params.factor)), vec4<f16>(1.0h));
}

fn written(sum: Number) -> f32 {
    return f32(max(max(sum.x, sum.y), max(sum.z, sum.w)));
}
