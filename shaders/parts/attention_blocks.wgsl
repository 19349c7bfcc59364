// What kernels of attention share whose invocations have four queries, or keys.

// Queries, or keys, of an invocation, and keys, or queries, that they meet at once: fewer reads for each multiplication.
const OWN: u32 = 4u;
const BLOCK: u32 = 8u;
const LANES: vec4<u32> = vec4<u32>(0u, 1u, 2u, 3u);

// What four numbers give with four others: a column for each of the first.
fn outer(x: vec4<f32>, y: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(x.x * y, x.y * y, x.z * y, x.w * y);
}

// Which of four tokens of a sequence from first on lie from x to before y.
fn within(first: u32, seen: vec2<u32>) -> vec4<bool> {
    return (first + LANES >= vec4<u32>(seen.x)) & (first + LANES < vec4<u32>(seen.y));
}
