// Gradient of `convolution` for its weight: `dweight[(ky * kernel + kx) * inputs + c, o] += sum of x[p, c] * dy[q, o]` over all
// pixels `q` and the `p` that they see through `(ky, kx)`.
// An invocation of the shader computes 4 channels of `x` by 4 of `y` in registers.
//
// CPU twin: engine/src/exec/cpu/convolution_weight_grad.rs

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
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> dweight: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    let across = (params.outputs + 3u) / 4u;
    let down = (params.inputs + 3u) / 4u;
    let tap = i / (across * down);
    let row = i / across % down * 4u;
    let col = i % across * 4u;
    if tap >= params.kernel * params.kernel {
        return;
    }
    // Channels beyond the edge are computed from the last one and dropped.
    let rows = min(vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.inputs - 1u));
    let cols = min(vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.outputs - 1u));
    let ky = tap / params.kernel - params.pad;
    let kx = tap % params.kernel - params.pad;

    var sums = mat4x4<f32>();
    for (var image = 0u; image < params.batch; image++) {
        for (var qy = 0u; qy < params.behind; qy++) {
            // What lies before the image wraps around, far beyond its end.
            let py = qy * params.stride + ky;
            if py >= params.side {
                continue;
            }
            for (var qx = 0u; qx < params.behind; qx++) {
                let px = qx * params.stride + kx;
                if px >= params.side {
                    continue;
                }
                let source = rows + ((image * params.side + py) * params.side + px) * params.inputs;
                let to = cols + ((image * params.behind + qy) * params.behind + qx) * params.outputs;
                let gradients = vec4<f32>(dy[to.x], dy[to.y], dy[to.z], dy[to.w]);
                sums += mat4x4<f32>(
                    x[source.x] * gradients, x[source.y] * gradients, x[source.z] * gradients, x[source.w] * gradients,
                );
            }
        }
    }
    for (var c = 0u; c < 4u && row + c < params.inputs; c++) {
        for (var o = 0u; o < 4u && col + o < params.outputs; o++) {
            dweight[(tap * params.inputs + row + c) * params.outputs + col + o] += sums[c][o];
        }
    }
}
