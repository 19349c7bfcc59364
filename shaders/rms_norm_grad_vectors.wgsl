// The same as `rms_norm_grad`, four neighbours of a row at once, whose length is a multiple of four.
//
// CPU twin: engine/src/exec/cpu/rms_norm_grad.rs

struct Params {
    rows: u32,
    cols: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> stats: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> dx: array<vec4<f32>>;
@group(0) @binding(5) var<uniform> params: Params;

const ONE: vec4<f32> = vec4<f32>(1.0);

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let t = gid.x + gid.y * workgroups.x * 64u;
    if t >= params.rows {
        return;
    }
    let quads = params.cols / 4u;
    let row = t * quads;

    let rstd = stats[t];
    var sum_gx = vec4<f32>();
    for (var j = 0u; j < quads; j++) {
        sum_gx += dy[row + j] * w[j] * x[row + j] * rstd;
    }
    let mean_gx = dot(sum_gx, ONE) / f32(params.cols);
    for (var j = 0u; j < quads; j++) {
        dx[row + j] = rstd * (dy[row + j] * w[j] - x[row + j] * rstd * mean_gx);
    }
}
