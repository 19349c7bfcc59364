// Squares of a gradient summed by the rows and the columns of its matrices (Shazeer & Stern 2018, "Adafactor", algorithm
// 4), of which a rank may have a part: elements `begin..end` of `matrices` that lie below each other, `rows` in all.
//
// The sums are those of all rows, then of the columns of each matrix; `out` gets `count` of them, from `first` on. With
// `moment` they become the moment `beta2 out + (1 - beta2) sum` of gradients that are unscaled and clipped as in `adamw`,
// and a norm that is not finite changes nothing; without, the bare sums, and what is bound for norm and hyper-parameters is
// not used.
//
// Before it stands `parts/update`.
// CPU twin: engine/src/exec/cpu/factor_sums.rs

struct Params {
    rows: u32,
    cols: u32,
    matrices: u32,
    begin: u32,
    end: u32,
    grad_offset: u32,
    first: u32,
    count: u32,
    out_offset: u32,
    moment: u32,
}

@group(0) @binding(0) var<storage, read> grad: array<f32>;
@group(0) @binding(1) var<storage, read> norm_sq: array<f32>;
@group(0) @binding(2) var<storage, read> hyper: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.count || (params.moment == 1u && !is_finite(norm_sq[0])) {
        return;
    }
    // From one term to the next: along a row, or down a column.
    var start = (params.first + i) * params.cols;
    var stride = 1u;
    var terms = params.cols;
    if params.first + i >= params.rows {
        let column = params.first + i - params.rows;
        let height = params.rows / params.matrices;
        start = column / params.cols * height * params.cols + column % params.cols;
        stride = params.cols;
        terms = height;
    }
    var sum = 0.0;
    for (var term = 0u; term < terms; term++) {
        let element = start + term * stride;
        if element >= params.begin && element < params.end {
            let g = grad[params.grad_offset + element - params.begin];
            sum += g * g;
        }
    }
    if params.moment == 1u {
        let factor = gradient_factor(hyper[7], hyper[8], norm_sq[0]);
        sum = hyper[2] * out[params.out_offset + i] + (1.0 - hyper[2]) * factor * factor * sum;
    }
    out[params.out_offset + i] = sum;
}
