// How four neighbours in a row of a matrix product are written, wherever they lie.

@group(0) @binding(3) var<storage, read_write> c: array<f32>;

// A sum with all that is done to it, on its way to c[at] in column j.
fn finished(value: f32, at: u32, j: u32) -> f32 {
    var sum = value;
    if params.accumulate == 1u {
        sum += c[at];
    }
    if (params.epilogue & 1u) != 0u {
        sum += bias[j];
    }
    if (params.epilogue & 2u) != 0u {
        sum = max(sum, 0.0);
    }
    if (params.epilogue & 4u) != 0u {
        // Far from zero some devices give no number.
        sum = tanh(clamp(sum, -15.0, 15.0));
    }
    return sum;
}

// Writes four neighbours; where they share words it is replaced by one that writes these whole.
fn c_four(at: u32, values: vec4<f32>) {
    c[at] = values.x;
    c[at + 1u] = values.y;
    c[at + 2u] = values.z;
    c[at + 3u] = values.w;
}

fn store(c0: u32, i: u32, col: u32, sums: vec4<f32>) {
    if i >= params.m || col >= params.n {
        return;
    }
    let first = c0 + i * params.n + col;
    // Beyond the last column it is computed again, and not written.
    let last = min(params.n - col, 4u) - 1u;
    let place = min(vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last));
    let values = vec4<f32>(
        finished(sums.x, first, col),
        finished(sums.y, first + place.y, col + place.y),
        finished(sums.z, first + place.z, col + place.z),
        finished(sums.w, first + place.w, col + place.w),
    );
    if last == 3u {
        c_four(first, values);
        return;
    }
    for (var x = 0u; x <= last; x++) {
        c[first + x] = values[x];
    }
}
