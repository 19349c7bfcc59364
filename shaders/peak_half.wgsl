// The peak rate of fp16, one number in a step of a chain: see `parts/peak`.
//
// `out` is `[n]`.
//
// Before it stand `parts/half`, `parts/peak_numbers`, `parts/peak`.
// CPU twin: engine/src/exec/cpu/peak_half.rs

alias Number = f16;

fn first(start: u32) -> Number {
    return f16(start);
}

fn next(x: Number) -> Number {
    return fma(x, f16(f16(params.factor)), f16(1.0h));
}

fn written(sum: Number) -> f32 {
    return f32(sum);
}
