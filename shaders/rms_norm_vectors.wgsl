// The same as `rms_norm`, four neighbours of a row at once, whose length is a multiple of four.
//
// CPU twin: engine/src/exec/cpu/rms_norm.rs

struct Params {
    rows: u32,
    cols: u32,
    eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> stats: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

const ONE: vec4<f32> = vec4<f32>(1.0);

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let t = gid.x + gid.y * workgroups.x * 64u;
    if t >= params.rows {
        return;
    }
    let quads = params.cols / 4u;
    let row = t * quads;

    var squares = vec4<f32>();
    for (var j = 0u; j < quads; j++) {
        let here = x[row + j];
        squares += here * here;
    }
    let rstd = 1.0 / sqrt(dot(squares, ONE) / f32(params.cols) + params.eps);
    for (var j = 0u; j < quads; j++) {
        y[row + j] = x[row + j] * rstd * w[j];
    }
    stats[t] = rstd;
}
