// Gradients of the weight and the shift of `batch_norm`: `dweight[c] += sums[c, 1]` and `dshift[c] += sums[c, 0]`.
//
// CPU twin: engine/src/exec/cpu/batch_norm_grad_params.rs

struct Params {
    cols: u32,
}

@group(0) @binding(0) var<storage, read> sums: array<f32>;
@group(0) @binding(1) var<storage, read_write> dweight: array<f32>;
@group(0) @binding(2) var<storage, read_write> dshift: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let c = gid.x + gid.y * workgroups.x * 64u;
    if c >= params.cols {
        return;
    }
    dweight[c] += sums[2u * c + 1u];
    dshift[c] += sums[2u * c];
}
