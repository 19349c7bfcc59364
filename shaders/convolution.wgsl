// Convolution: `y[q, o] = sum over (ky, kx, c) of x[pixel(q, ky, kx), c] * weight[(ky * kernel + kx) * inputs + c, o]`, where
// `pixel` lies at `q * stride + (ky, kx) - pad`, and is zero outside the image.
//
// Rows are pixels, row by row of each image; columns are channels. A weight has a row for each pixel of the kernel and each
// channel of `x`, and a column for each channel of `y`.
// An invocation of the shader computes 4 pixels by 4 channels in registers.
//
// CPU twin: engine/src/exec/cpu/convolution.rs

struct Params {
    batch: u32,
    side: u32,
    behind: u32,
    inputs: u32,
    outputs: u32,
    kernel: u32,
    stride: u32,
    pad: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    let area = params.behind * params.behind;
    let pixels = params.batch * area;
    let quads = (params.outputs + 3u) / 4u;
    let first = i / quads * 4u;
    let col = i % quads * 4u;
    if first >= pixels {
        return;
    }
    // Pixels and channels beyond the edge are computed from the last one and dropped.
    let pixel = min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(pixels - 1u));
    let cols = min(vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.outputs - 1u));
    let image = pixel / area * params.side * params.side;
    let top = pixel % area / params.behind * params.stride;
    let left = pixel % params.behind * params.stride;
    let side = vec4<u32>(params.side);

    var sums = mat4x4<f32>();
    for (var ky = 0u; ky < params.kernel; ky++) {
        // What lies before the image wraps around, far beyond its end.
        let py = top + vec4<u32>(ky - params.pad);
        for (var kx = 0u; kx < params.kernel; kx++) {
            let px = left + vec4<u32>(kx - params.pad);
            let inside = (py < side) & (px < side);
            let source = select(vec4<u32>(0u), (image + py * side + px) * params.inputs, inside);
            let tap = (ky * params.kernel + kx) * params.inputs;
            for (var c = 0u; c < params.inputs; c++) {
                let w = (tap + c) * params.outputs + cols;
                let weights = vec4<f32>(weight[w.x], weight[w.y], weight[w.z], weight[w.w]);
                let at = source + c;
                let values = select(vec4<f32>(0.0), vec4<f32>(x[at.x], x[at.y], x[at.z], x[at.w]), inside);
                sums += mat4x4<f32>(values.x * weights, values.y * weights, values.z * weights, values.w * weights);
            }
        }
    }
    for (var p = 0u; p < 4u && first + p < pixels; p++) {
        for (var o = 0u; o < 4u && col + o < params.outputs; o++) {
            y[(first + p) * params.outputs + col + o] = sums[p][o];
        }
    }
}
