// The sum of numbers that `narrow_blocks` made small, of as many parts behind each other: `x[i] = sum of code * scale`.
//
// CPU twin: engine/src/exec/cpu/widen_blocks.rs

struct Params {
    n: u32,
    parts: u32,
    distance: u32,
}

@group(0) @binding(0) var<storage, read> codes: array<u32>;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.n {
        return;
    }
    var sum = 0.0;
    for (var part = 0u; part < params.parts; part++) {
        let row = part * params.distance + i / 256u * 65u;
        // Its byte moves to the top, then down again with its sign.
        let code = bitcast<i32>(codes[row + i % 256u / 4u] << (24u - i % 4u * 8u)) >> 24u;
        sum += f32(code) * bitcast<f32>(codes[row + 64u]);
    }
    x[i] = sum;
}
