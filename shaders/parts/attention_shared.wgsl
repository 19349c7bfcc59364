// What kernels of attention share whose workgroups have four queries, or keys, and meet 64 keys, or queries, at once: one
// for each invocation, then an element of a head for each.

const LANES: u32 = 64u;
const OWN: u32 = 4u;
const FOUR: vec4<u32> = vec4<u32>(0u, 1u, 2u, 3u);

// Sums of an invocation: heads are at most 256 wide, and it has every 64th element.
const SUMS: u32 = 4u;
