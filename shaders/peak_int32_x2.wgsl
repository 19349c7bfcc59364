// The peak rate of integers of 32 bits, which wrap around, two numbers in a step of a chain: see `parts/peak`.
//
// `out` is `[n]`.
//
// Before it stand `parts/peak_integers`, `parts/peak`.
// CPU twin: engine/src/exec/cpu/peak_int32.rs

alias Number = vec2<u32>;

// All components are alike, which a compiler does not know, so that each is computed.
fn first(start: u32) -> Number {
    return vec2<u32>(start) + vec2<u32>(0u, params.zero);
}

fn next(x: Number) -> Number {
    return x * params.factor + vec2<u32>(1u);
}

fn written(sum: Number) -> u32 {
    return max(sum.x, sum.y);
}
