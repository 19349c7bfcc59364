// The same as `layer_norm`, four neighbours of a row at once, whose length is a multiple of four.
//
// CPU twin: engine/src/exec/cpu/layer_norm.rs

struct Params {
    rows: u32,
    cols: u32,
    eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> stats: array<f32>;
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

    var sum = vec4<f32>();
    for (var j = 0u; j < quads; j++) {
        sum += x[row + j];
    }
    let mean = dot(sum, ONE) / f32(params.cols);
    var squares = vec4<f32>();
    for (var j = 0u; j < quads; j++) {
        let apart = x[row + j] - mean;
        squares += apart * apart;
    }
    let rstd = 1.0 / sqrt(dot(squares, ONE) / f32(params.cols) + params.eps);
    for (var j = 0u; j < quads; j++) {
        y[row + j] = (x[row + j] - mean) * rstd * w[j] + b[j];
    }
    stats[2u * t] = mean;
    stats[2u * t + 1u] = rstd;
}
