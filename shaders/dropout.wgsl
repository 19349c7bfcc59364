// Dropout (Srivastava et al. 2014), scaled so that sums stay as large on average: `y = x * scale` where the mask says 1,
// 0 elsewhere. An invocation has a word of the mask, four elements with a byte each.
//
// Before it stands `parts/dropout`.
// CPU twin: engine/src/exec/cpu/dropout.rs

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> step: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> mask: array<u32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let start = (gid.x + gid.y * workgroups.x * 64u) * 4u;
    if start >= params.n {
        return;
    }
    let kept = kept_of(start, step[0]);
    for (var place = 0u; place < 4u && start + place < params.n; place++) {
        let i = params.offset + start + place;
        y[i] = select(0.0, x[i] * params.scale, ((kept >> (place * 8u)) & 1u) == 1u);
    }
    mask[(params.offset + start) / 4u] = kept;
}
