// Where attention reads four numbers at once: of four rows four each, a place of all rows in each column of a matrix.

@group(0) @binding(0) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> kv: array<vec4<f32>>;

// Numbers of a row that are read at once.
const STEP: u32 = 4u;

fn of_queries(at: vec4<u32>) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(qkv[at.x / 4u], qkv[at.y / 4u], qkv[at.z / 4u], qkv[at.w / 4u]));
}

fn of_keys(at: vec4<u32>) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(kv[at.x / 4u], kv[at.y / 4u], kv[at.z / 4u], kv[at.w / 4u]));
}
