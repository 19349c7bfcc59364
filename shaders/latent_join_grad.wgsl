// Gradient of `latent_join`: every part turns back. That of `key` is summed over the heads of this rank.
//
// `dqkv`, `dqueries`, `dpairs` and `dkey` are as in `latent_join`.
//
// CPU twin: engine/src/exec/cpu/latent_join_grad.rs

struct Params {
    rows: u32,
    seq: u32,
    heads: u32,
    plain: u32,
    rotated: u32,
    value: u32,
    theta: f32,
    stride: u32,
    first: u32,
}

@group(0) @binding(0) var<storage, read> dqkv: array<f32>;
@group(0) @binding(1) var<storage, read_write> dqueries: array<f32>;
@group(0) @binding(2) var<storage, read_write> dpairs: array<f32>;
@group(0) @binding(3) var<storage, read_write> dkey: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

const TAU: f32 = 6.283185307179586;

// Brought to one turn, because sin and cos promise their precision only there.
fn angle(t: u32, d: u32) -> f32 {
    let position = t % params.seq * params.stride + params.first;
    let exponent = -2.0 * f32(d) / f32(params.rotated);
    let full = f32(position) * pow(params.theta, exponent);
    return full - TAU * round(full / TAU);
}

// Turns the part of all heads' keys back, and adds them up.
fn add_keys(t: u32) {
    let width = params.plain + params.rotated;
    let half_dim = params.rotated / 2u;
    for (var d = 0u; d < half_dim; d++) {
        var low = 0.0;
        var high = 0.0;
        for (var h = 0u; h < params.heads; h++) {
            let k = (t * params.heads + h) * (2u * width + params.value) + width + params.plain + d;
            low += dqkv[k];
            high += dqkv[k + half_dim];
        }
        let turn = angle(t, d);
        dkey[t * params.rotated + d] = low * cos(turn) + high * sin(turn);
        dkey[t * params.rotated + d + half_dim] = high * cos(turn) - low * sin(turn);
    }
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let head = gid.x + gid.y * workgroups.x * 64u;
    if head >= params.rows * params.heads {
        return;
    }
    let t = head / params.heads;
    let width = params.plain + params.rotated;
    let half_dim = params.rotated / 2u;
    let to_q = head * width;
    let pair = head * (params.plain + params.value);
    let q = head * (2u * width + params.value);
    let k = q + width;
    for (var d = 0u; d < params.plain; d++) {
        dqueries[to_q + d] = dqkv[q + d];
        dpairs[pair + d] = dqkv[k + d];
    }
    for (var d = 0u; d < half_dim; d++) {
        let turn = angle(t, d);
        let low = params.plain + d;
        let high = low + half_dim;
        dqueries[to_q + low] = dqkv[q + low] * cos(turn) + dqkv[q + high] * sin(turn);
        dqueries[to_q + high] = dqkv[q + high] * cos(turn) - dqkv[q + low] * sin(turn);
    }
    for (var d = 0u; d < params.value; d++) {
        dpairs[pair + params.plain + d] = dqkv[k + width + d];
    }
    if head % params.heads == 0u {
        add_keys(t);
    }
}
