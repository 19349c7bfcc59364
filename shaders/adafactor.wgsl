// One Adafactor update (Shazeer & Stern 2018, algorithm 4) from moments of rows and columns:
// `v = row column / sum of rows`, `param -= lr g / (sqrt(v / bias2) + eps)`; for a vector `v` is the moment of its row.
//
// Of `matrices` that lie below each other, `rows` in all, a rank may update elements `begin..end`. `hyper`, unscaling and
// clipping are as in `adamw`; updates are not clipped by their own mean square, which no rank that has a slice knows. A
// workgroup has 1024 elements of a matrix and adds up its rows by itself.
//
// Before it stands `parts/update`.
// CPU twin: engine/src/exec/cpu/adafactor.rs

struct Params {
    rows: u32,
    cols: u32,
    matrices: u32,
    begin: u32,
    end: u32,
    grad_offset: u32,
    param_offset: u32,
    row_offset: u32,
    column_offset: u32,
    vector_: u32,
}

@group(0) @binding(0) var<storage, read> grad: array<f32>;
@group(0) @binding(1) var<storage, read> norm_sq: array<f32>;
@group(0) @binding(2) var<storage, read> hyper: array<f32>;
@group(0) @binding(3) var<storage, read> rows: array<f32>;
@group(0) @binding(4) var<storage, read> columns: array<f32>;
@group(0) @binding(5) var<storage, read_write> param: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

const CHUNK: u32 = 1024u;
const LANES: u32 = 64u;

var<workgroup> lanes: array<f32, LANES>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    if !is_finite(norm_sq[0]) {
        return;
    }
    let height = params.rows / params.matrices;
    let size = height * params.cols;
    let first_row = params.row_offset + workgroup.y * height;
    var sum = 0.0;
    for (var i = lane; i < height; i += LANES) {
        sum += rows[first_row + i];
    }
    lanes[lane] = sum;
    for (var half_width = LANES / 2u; half_width > 0u; half_width /= 2u) {
        workgroupBarrier();
        if lane < half_width {
            lanes[lane] += lanes[lane + half_width];
        }
    }
    workgroupBarrier();
    let total = lanes[0];
    let factor = gradient_factor(hyper[7], hyper[8], norm_sq[0]);
    let chunk = workgroup.x + workgroup.z * workgroups.x;
    let end = min(size, (chunk + 1u) * CHUNK);
    for (var within = chunk * CHUNK + lane; within < end; within += LANES) {
        let element = workgroup.y * size + within;
        if element < params.begin || element >= params.end {
            continue;
        }
        let row = rows[first_row + within / params.cols];
        var square = row;
        if params.vector_ == 0u {
            let column = columns[params.column_offset + workgroup.y * params.cols + within % params.cols];
            square = select(0.0, row * column / total, total > 0.0);
        }
        let g = grad[params.grad_offset + element - params.begin] * factor;
        let place = params.param_offset + element - params.begin;
        param[place] = param[place] - hyper[0] * (g / (sqrt(square / hyper[6]) + hyper[3]));
    }
}
