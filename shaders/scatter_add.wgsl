// Adds values to the places that stand behind them: `x[place] += value` for `n` pairs from pair `first` on. No place comes
// twice among them.
//
// CPU twin: engine/src/exec/cpu/scatter_add.rs

struct Params {
    n: u32,
    first: u32,
}

@group(0) @binding(0) var<storage, read> pairs: array<u32>;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.n {
        return;
    }
    let pair = 2u * (params.first + i);
    let place = pairs[pair + 1u];
    x[place] = x[place] + bitcast<f32>(pairs[pair]);
}
