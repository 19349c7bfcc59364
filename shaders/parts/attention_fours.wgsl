// Four neighbours of a head of any width, of which only so many are there as are `left` of it; the others are nothing.

// Where they lie; those that are not there lie where the last one does.
fn four_at(at: u32, left: u32) -> vec4<u32> {
    return at + min(LANES, vec4<u32>(left - 1u));
}

fn there(x: vec4<f32>, left: u32) -> vec4<f32> {
    return select(vec4<f32>(), x, LANES < vec4<u32>(left));
}
