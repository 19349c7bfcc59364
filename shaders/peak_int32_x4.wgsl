// The peak rate of integers of 32 bits, which wrap around, four numbers in a step of a chain: see `parts/peak`.
//
// `out` is `[n]`.
//
// Before it stand `parts/peak_integers`, `parts/peak`.
// CPU twin: engine/src/exec/cpu/peak_int32.rs

alias Number = vec4<u32>;

// All components are alike, which a compiler does not know, so that each is computed.
fn first(start: u32) -> Number {
    return vec4<u32>(start) + vec4<u32>(0u, params.zero, params.zero, params.zero);
}

fn next(x: Number) -> Number {
    return x * params.factor + vec4<u32>(1u);
}

fn written(sum: Number) -> u32 {
    return max(max(sum.x, sum.y), max(sum.z, sum.w));
}
