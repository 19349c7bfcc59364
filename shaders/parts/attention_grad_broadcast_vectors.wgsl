// What gradients of attention by subgroups read and write where heads begin at multiples of four, in fp32: four numbers at once.

@group(0) @binding(0) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> kv: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> dout: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> gradient: array<vec4<f32>>;

fn of_qkv(at: u32, left: u32) -> vec4<f32> {
    return qkv[at / 4u];
}

fn of_kv(at: u32, left: u32) -> vec4<f32> {
    return kv[at / 4u];
}

fn of_dout(at: u32, left: u32) -> vec4<f32> {
    return dout[at / 4u];
}

fn of_gradient(at: u32, left: u32) -> vec4<f32> {
    return gradient[at / 4u];
}

fn write_gradient(at: u32, left: u32, values: vec4<f32>) {
    gradient[at / 4u] = values;
}
