// Applies an orthogonal update (Liu et al. 2025, "Moonlight", equation 4):
// `param -= lr (scale * direction + weight_decay * param)`.
//
// `hyper` is as in `adamw`; a norm that is not finite changes nothing. Parts of buffers are updated, from the offsets on.
//
// Before it stands `parts/update`.
// CPU twin: engine/src/exec/cpu/muon.rs

struct Params {
    n: u32,
    from_: u32,
    to: u32,
    decays: u32,
    scale: f32,
}

@group(0) @binding(0) var<storage, read> direction: array<f32>;
@group(0) @binding(1) var<storage, read> norm_sq: array<f32>;
@group(0) @binding(2) var<storage, read> hyper: array<f32>;
@group(0) @binding(3) var<storage, read_write> param: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.n || !is_finite(norm_sq[0]) {
        return;
    }
    let weight_decay = select(0.0, hyper[4], params.decays == 1u);
    let step = params.scale * direction[params.from_ + i];
    let before = param[params.to + i];
    param[params.to + i] = before - hyper[0] * (step + weight_decay * before);
}
