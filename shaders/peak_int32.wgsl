// The peak rate of integers of 32 bits, which wrap around, one number in a step of a chain: see `parts/peak`.
//
// `out` is `[n]`.
//
// Before it stand `parts/peak_integers`, `parts/peak`.
// CPU twin: engine/src/exec/cpu/peak_int32.rs

alias Number = u32;

fn first(start: u32) -> Number {
    return start;
}

fn next(x: Number) -> Number {
    return x * params.factor + 1u;
}

fn written(sum: Number) -> u32 {
    return sum;
}
