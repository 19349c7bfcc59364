// The peak rate of fp32, one number in a step of a chain: see `parts/peak`.
//
// `out` is `[n]`.
//
// Before it stand `parts/peak_numbers`, `parts/peak`.
// CPU twin: engine/src/exec/cpu/peak.rs

alias Number = f32;

fn first(start: u32) -> Number {
    return f32(start);
}

fn next(x: Number) -> Number {
    return fma(x, f32(params.factor), f32(1.0));
}

fn written(sum: Number) -> f32 {
    return sum;
}
