// Gradient of `pool`: of a mean every pixel of the window gets its share, of the largest the first pixel that is it.
//
// The shader gathers: each pixel of `dx` looks into the windows that it is in, so nothing races.
//
// CPU twin: engine/src/exec/cpu/pool_grad.rs

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
@group(0) @binding(1) var<storage, read> y: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

// Whether pixel `(row, column)` is the first of the window of `(qy, qx)` with the value `largest`.
fn is_first(image: u32, qy: u32, qx: u32, row: u32, column: u32, c: u32, largest: f32) -> bool {
    for (var ky = 0u; ky < params.kernel; ky++) {
        for (var kx = 0u; kx < params.kernel; kx++) {
            let py = qy * params.stride + ky - params.pad;
            let px = qx * params.stride + kx - params.pad;
            if py >= params.side || px >= params.side {
                continue;
            }
            if py == row && px == column {
                return true;
            }
            if x[(image + py * params.side + px) * params.cols + c] == largest {
                return false;
            }
        }
    }
    return false;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.batch * params.side * params.side * params.cols {
        return;
    }
    let p = i / params.cols;
    let c = i % params.cols;
    let number = p / (params.side * params.side);
    let image = number * params.side * params.side;
    let row = p / params.side % params.side;
    let column = p % params.side;
    var sum = 0.0;
    for (var ky = 0u; ky < params.kernel; ky++) {
        for (var kx = 0u; kx < params.kernel; kx++) {
            // What lies before the first window wraps around, far beyond the last.
            let sy = row + params.pad - ky;
            let sx = column + params.pad - kx;
            let qy = sy / params.stride;
            let qx = sx / params.stride;
            if sy % params.stride != 0u || sx % params.stride != 0u || qy >= params.behind || qx >= params.behind {
                continue;
            }
            let q = ((number * params.behind + qy) * params.behind + qx) * params.cols + c;
            if params.mean == 1u {
                sum += dy[q] / f32(params.kernel * params.kernel);
            } else if x[i] == y[q] && is_first(image, qy, qx, row, column, c, y[q]) {
                sum += dy[q];
            }
        }
    }
    dx[i] = sum;
}
