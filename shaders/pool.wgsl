// Pooling: `y[q, c]` is the largest, or the mean, of `x[p, c]` over the window of `kernel` by `kernel` pixels from `q * stride - pad`
// on, as far as it lies in the image.
//
// Rows are pixels, row by row of each image; columns are channels.
//
// CPU twin: engine/src/exec/cpu/pool.rs

struct Params {
    batch: u32,
    side: u32,
    behind: u32,
    cols: u32,
    kernel: u32,
    stride: u32,
    pad: u32,
    mean: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.batch * params.behind * params.behind * params.cols {
        return;
    }
    let q = i / params.cols;
    let image = q / (params.behind * params.behind) * params.side * params.side;
    let top = q / params.behind % params.behind * params.stride - params.pad;
    let left = q % params.behind * params.stride - params.pad;
    var largest = -3.4028234e38;
    var sum = 0.0;
    for (var ky = 0u; ky < params.kernel; ky++) {
        for (var kx = 0u; kx < params.kernel; kx++) {
            // What lies before the image wraps around, far beyond its end.
            let py = top + ky;
            let px = left + kx;
            if py < params.side && px < params.side {
                let value = x[(image + py * params.side + px) * params.cols + i % params.cols];
                largest = max(largest, value);
                sum += value;
            }
        }
    }
    y[i] = select(largest, sum / f32(params.kernel * params.kernel), params.mean == 1u);
}
