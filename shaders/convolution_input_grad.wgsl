// Gradient of `convolution` for its input: `dx[p, c] = sum of dy[q, o] * weight[(ky * kernel + kx) * inputs + c, o]` over all
// `(ky, kx, o)` and the pixels `q` that see `p` through `(ky, kx)`: `q * stride + (ky, kx) - pad = p`.
// An invocation of the shader computes 4 pixels by 4 channels in registers.
//
// CPU twin: engine/src/exec/cpu/convolution_input_grad.rs

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

@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    let area = params.side * params.side;
    let pixels = params.batch * area;
    let quads = (params.inputs + 3u) / 4u;
    let first = i / quads * 4u;
    let col = i % quads * 4u;
    if first >= pixels {
        return;
    }
    // Pixels and channels beyond the edge are computed from the last one and dropped.
    let pixel = min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(pixels - 1u));
    let cols = min(vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.inputs - 1u));
    let image = pixel / area * params.behind * params.behind;
    let row = pixel % area / params.side + params.pad;
    let column = pixel % params.side + params.pad;
    let behind = vec4<u32>(params.behind);
    let stride = vec4<u32>(params.stride);

    var sums = mat4x4<f32>();
    for (var ky = 0u; ky < params.kernel; ky++) {
        // What lies before the image wraps around, far beyond its end.
        let sy = row - ky;
        for (var kx = 0u; kx < params.kernel; kx++) {
            let sx = column - kx;
            let seen = (sy % stride == vec4<u32>(0u)) & (sx % stride == vec4<u32>(0u));
            let inside = seen & (row >= vec4<u32>(ky)) & (column >= vec4<u32>(kx))
                & (sy / stride < behind) & (sx / stride < behind);
            let source = select(vec4<u32>(0u), (image + sy / stride * behind + sx / stride) * params.outputs, inside);
            let w = ((ky * params.kernel + kx) * params.inputs + cols) * params.outputs;
            for (var o = 0u; o < params.outputs; o++) {
                let weights = vec4<f32>(weight[w.x + o], weight[w.y + o], weight[w.z + o], weight[w.w + o]);
                let at = source + o;
                let values = select(vec4<f32>(0.0), vec4<f32>(dy[at.x], dy[at.y], dy[at.z], dy[at.w]), inside);
                sums += mat4x4<f32>(values.x * weights, values.y * weights, values.z * weights, values.w * weights);
            }
        }
    }
    for (var p = 0u; p < 4u && first + p < pixels; p++) {
        for (var c = 0u; c < 4u && col + c < params.inputs; c++) {
            dx[(first + p) * params.inputs + col + c] = sums[p][c];
        }
    }
}
