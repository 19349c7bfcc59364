// What `attention_broadcast` reads and writes where heads begin at multiples of four, in fp32: four numbers at once.

@group(0) @binding(0) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> kv: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

fn of_queries(at: u32, left: u32) -> vec4<f32> {
    return qkv[at / 4u];
}

fn of_keys(at: vec4<u32>, left: u32) -> mat4x4<f32> {
    let four = at / 4u;
    return mat4x4<f32>(kv[four.x], kv[four.y], kv[four.z], kv[four.w]);
}

fn of_out(at: u32, left: u32) -> vec4<f32> {
    return out[at / 4u];
}

fn write_out(at: u32, left: u32, values: vec4<f32>) {
    out[at / 4u] = values;
}
