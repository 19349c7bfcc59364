// Residual connection with dropout of what is added (Megatron-LM's `bias_dropout_add`): `out = x + (y + bias) * scale` where
// the mask says 1, `x` elsewhere. Without a bias `has_bias` is 0 and any buffer may be bound in its place. An invocation has
// a word of the mask, four elements with a byte each.
//
// Before it stands `parts/dropout`.
// CPU twin: engine/src/exec/cpu/dropout_residual.rs

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> y: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read> step: array<u32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
@group(0) @binding(5) var<storage, read_write> mask: array<u32>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let start = (gid.x + gid.y * workgroups.x * 64u) * 4u;
    if start >= params.n {
        return;
    }
    let kept = kept_of(start, step[0]);
    for (var place = 0u; place < 4u && start + place < params.n; place++) {
        let i = params.offset + start + place;
        var added = y[i];
        if params.has_bias == 1u {
            added += bias[(start + place) % params.cols];
        }
        out[i] = x[i] + select(0.0, added * params.scale, ((kept >> (place * 8u)) & 1u) == 1u);
    }
    mask[(params.offset + start) / 4u] = kept;
}
