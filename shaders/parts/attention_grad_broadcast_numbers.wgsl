// What gradients of attention by subgroups read and write number by number, of heads of any width, in any format: see
// `parts/attention_fours`.

@group(0) @binding(0) var<storage, read> qkv: array<f32>;
@group(0) @binding(1) var<storage, read> kv: array<f32>;
@group(0) @binding(2) var<storage, read> dout: array<f32>;
@group(0) @binding(5) var<storage, read_write> gradient: array<f32>;

fn of_qkv(first: u32, left: u32) -> vec4<f32> {
    let at = four_at(first, left);
    return there(vec4<f32>(qkv[at.x], qkv[at.y], qkv[at.z], qkv[at.w]), left);
}

fn of_kv(first: u32, left: u32) -> vec4<f32> {
    let at = four_at(first, left);
    return there(vec4<f32>(kv[at.x], kv[at.y], kv[at.z], kv[at.w]), left);
}

fn of_dout(first: u32, left: u32) -> vec4<f32> {
    let at = four_at(first, left);
    return there(vec4<f32>(dout[at.x], dout[at.y], dout[at.z], dout[at.w]), left);
}

fn of_gradient(first: u32, left: u32) -> vec4<f32> {
    let at = four_at(first, left);
    return there(vec4<f32>(gradient[at.x], gradient[at.y], gradient[at.z], gradient[at.w]), left);
}

fn write_gradient(at: u32, left: u32, values: vec4<f32>) {
    for (var x = 0u; x < min(left, 4u); x++) {
        gradient[at + x] = values[x];
    }
}
