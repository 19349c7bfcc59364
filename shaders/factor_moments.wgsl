// Moments from sums of squares that several ranks have added up: `moments = beta2 moments + (1 - beta2) factor^2 sums`, where
// `factor` unscales and clips the gradient as in `adamw`. A norm that is not finite changes nothing.
//
// Before it stands `parts/update`.
// CPU twin: engine/src/exec/cpu/factor_moments.rs

struct Params {
    n: u32,
}

@group(0) @binding(0) var<storage, read> norm_sq: array<f32>;
@group(0) @binding(1) var<storage, read> hyper: array<f32>;
@group(0) @binding(2) var<storage, read> sums: array<f32>;
@group(0) @binding(3) var<storage, read_write> moments: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.n || !is_finite(norm_sq[0]) {
        return;
    }
    let factor = gradient_factor(hyper[7], hyper[8], norm_sq[0]);
    moments[i] = hyper[2] * moments[i] + (1.0 - hyper[2]) * factor * factor * sums[i];
}
