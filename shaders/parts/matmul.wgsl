// What all ways to compute a matrix product share: parameters, buffers, and how four neighbours in a row are written.

struct Params {
    m: u32,
    n: u32,
    k: u32,
    a_row_stride: u32,
    a_col_stride: u32,
    b_row_stride: u32,
    b_col_stride: u32,
    accumulate: u32,
    // 1 for a bias, 2 for max(x, 0), 4 for the hyperbolic tangent.
    epilogue: u32,
    a_offset: u32,
    b_offset: u32,
    c_offset: u32,
    a_batch: u32,
    b_batch: u32,
    c_batch: u32,
    batches: u32,
}

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

fn store(c0: u32, i: u32, col: u32, sums: vec4<f32>) {
    if i >= params.m {
        return;
    }
    for (var x = 0u; x < 4u && col + x < params.n; x++) {
        let j = col + x;
        var sum = sums[x];
        if params.accumulate == 1u {
            sum += c[c0 + i * params.n + j];
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
        c[c0 + i * params.n + j] = sum;
    }
}
