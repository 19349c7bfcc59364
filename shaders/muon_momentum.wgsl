// The momentum that Muon makes orthogonal (Liu et al. 2025, "Moonlight", equation 1): `m = decay m + g`, of which
// `direction` gets a copy, `g` unscaled and clipped by the global norm as in `adamw`.
//
// Before it stands `parts/update`.
// CPU twin: engine/src/exec/cpu/muon_momentum.rs

struct Params {
    n: u32,
    decay: f32,
}

@group(0) @binding(0) var<storage, read> grad: array<f32>;
@group(0) @binding(1) var<storage, read> norm_sq: array<f32>;
@group(0) @binding(2) var<storage, read> hyper: array<f32>;
@group(0) @binding(3) var<storage, read_write> direction: array<f32>;
@group(0) @binding(4) var<storage, read_write> m: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.n || !is_finite(norm_sq[0]) {
        return;
    }
    let momentum = params.decay * m[i] + grad[i] * gradient_factor(hyper[7], hyper[8], norm_sq[0]);
    m[i] = momentum;
    direction[i] = momentum;
}
