// Where attention reads number by number: of four rows one each, in the first column of a matrix.

@group(0) @binding(0) var<storage, read> qkv: array<f32>;
@group(0) @binding(1) var<storage, read> kv: array<f32>;

// Numbers of a row that are read at once.
const STEP: u32 = 1u;

fn of_queries(at: vec4<u32>) -> mat4x4<f32> {
    let none = vec4<f32>();
    return mat4x4<f32>(vec4<f32>(qkv[at.x], qkv[at.y], qkv[at.z], qkv[at.w]), none, none, none);
}

fn of_keys(at: vec4<u32>) -> mat4x4<f32> {
    let none = vec4<f32>();
    return mat4x4<f32>(vec4<f32>(kv[at.x], kv[at.y], kv[at.z], kv[at.w]), none, none, none);
}
