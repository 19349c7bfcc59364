// What `attention_broadcast` reads and writes number by number, of heads of any width, in any format: see
// `parts/attention_fours`.

@group(0) @binding(0) var<storage, read> qkv: array<f32>;
@group(0) @binding(1) var<storage, read> kv: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

fn of_queries(first: u32, left: u32) -> vec4<f32> {
    let at = four_at(first, left);
    return there(vec4<f32>(qkv[at.x], qkv[at.y], qkv[at.z], qkv[at.w]), left);
}

fn of_key(first: u32, left: u32) -> vec4<f32> {
    let at = four_at(first, left);
    return there(vec4<f32>(kv[at.x], kv[at.y], kv[at.z], kv[at.w]), left);
}

fn of_keys(at: vec4<u32>, left: u32) -> mat4x4<f32> {
    return mat4x4<f32>(of_key(at.x, left), of_key(at.y, left), of_key(at.z, left), of_key(at.w, left));
}

fn of_out(first: u32, left: u32) -> vec4<f32> {
    let at = four_at(first, left);
    return there(vec4<f32>(out[at.x], out[at.y], out[at.z], out[at.w]), left);
}

fn write_out(at: u32, left: u32, values: vec4<f32>) {
    for (var x = 0u; x < min(left, 4u); x++) {
        out[at + x] = values[x];
    }
}
