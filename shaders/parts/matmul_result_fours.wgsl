// How four neighbours in a row of a matrix product are written where rows have a multiple of four numbers.

@group(0) @binding(3) var<storage, read_write> c: array<vec4<f32>>;

// Sums with all that is done to them, on their way to c[at] in columns from j on.
fn finished(values: vec4<f32>, at: u32, j: u32) -> vec4<f32> {
    var sums = values;
    if params.accumulate == 1u {
        sums += c[at];
    }
    if (params.epilogue & 1u) != 0u {
        sums += vec4<f32>(bias[j], bias[j + 1u], bias[j + 2u], bias[j + 3u]);
    }
    if (params.epilogue & 2u) != 0u {
        sums = max(sums, vec4<f32>());
    }
    if (params.epilogue & 4u) != 0u {
        // Far from zero some devices give no number.
        sums = tanh(clamp(sums, vec4<f32>(-15.0), vec4<f32>(15.0)));
    }
    return sums;
}

fn store(c0: u32, i: u32, col: u32, sums: vec4<f32>) {
    if i < params.m && col < params.n {
        let at = (c0 + i * params.n + col) / 4u;
        c[at] = finished(sums, at, col);
    }
}
