// Gives every choice of an expert its row: `assignment[i] = expert * capacity + number of earlier choices of it`. What is
// beyond the capacity is dropped (Fedus et al. 2022, "Switch Transformers", section 2.2), and keeps its expert behind
// `DROPPED`.
//
// `choices` and `assignment` are `[tokens, per_token]`, in the order in which tokens come first.
//
// CPU twin: engine/src/exec/cpu/assign.rs

struct Params {
    n: u32,
    experts: u32,
    capacity: u32,
}

@group(0) @binding(0) var<storage, read> choices: array<u32>;
@group(0) @binding(1) var<storage, read_write> assignment: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

const DROPPED: u32 = 0x80000000u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let expert = gid.x + gid.y * workgroups.x * 64u;
    if expert >= params.experts {
        return;
    }
    var taken = 0u;
    for (var i = 0u; i < params.n; i++) {
        if choices[i] == expert {
            assignment[i] = select(DROPPED | expert, expert * params.capacity + taken, taken < params.capacity);
            taken++;
        }
    }
}
