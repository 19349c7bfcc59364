// Rotary positions (Su et al. 2021) on the query and key heads of fused rows; the value heads are copied.
//
// `x` and `y` are `[T, groups * (q_per_group + 2) * head_dim]`: each group holds its query heads, a key head, a value head.
// The pair `(d, d + head_dim/2)` turns by the angle `pos * theta^(-2d / head_dim)` with `pos = t mod seq * stride + first`.
// A rotation is its own gradient when turned backward, which `direction` does.
//
// CPU twin: engine/src/exec/cpu/rope.rs

struct Params {
    rows: u32,
    seq: u32,
    groups: u32,
    q_per_group: u32,
    head_dim: u32,
    theta: f32,
    direction: f32,
    stride: u32,
    first: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

const TAU: f32 = 6.283185307179586;

// Brought to one turn, because sin and cos promise their precision only there.
fn angle(position: u32, d: u32) -> f32 {
    let exponent = -2.0 * f32(d) / f32(params.head_dim);
    let full = params.direction * f32(position) * pow(params.theta, exponent);
    return full - TAU * round(full / TAU);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let half_dim = params.head_dim / 2u;
    let heads = params.groups * (params.q_per_group + 2u);
    let i = gid.x + gid.y * workgroups.x * 64u;
    if i >= params.rows * heads * half_dim {
        return;
    }
    let d = i % half_dim;
    let head = i / half_dim % heads;
    let position = i / half_dim / heads % params.seq * params.stride + params.first;

    let first = i / half_dim * params.head_dim + d;
    let second = first + half_dim;
    let is_value = head % (params.q_per_group + 2u) == params.q_per_group + 1u;
    if is_value {
        y[first] = x[first];
        y[second] = x[second];
        return;
    }
    let turn = angle(position, d);
    y[first] = x[first] * cos(turn) - x[second] * sin(turn);
    y[second] = x[first] * sin(turn) + x[second] * cos(turn);
}
