// Gradient of `binary_loss`: `dlogits[t] = (1 / (1 + exp(-logits[t])) - target) * scale`.
//
// CPU twin: engine/src/exec/cpu/binary_loss_grad.rs

struct Params {
    rows: u32,
    scale: f32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read_write> dlogits: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let t = gid.x + gid.y * workgroups.x * 64u;
    if t >= params.rows {
        return;
    }
    // Of the magnitude, so that no exponential overflows.
    let e = exp(-abs(logits[t]));
    let probability = select(e, 1.0, logits[t] >= 0.0) / (1.0 + e);
    dlogits[t] = (probability - f32(targets[t])) * params.scale;
}
