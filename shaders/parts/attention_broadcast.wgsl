// What kernels of attention share of which a subgroup of eight invocations has sixteen rows of its own and meets 32 others at a
// time: of these an invocation has four. Of what is summed up it has eight elements of a head, or four of a narrow one.

const OWN_ROWS: u32 = 16u;
const MET: u32 = 32u;
const INVOCATIONS: u32 = 8u;

// Elements of a head, rounded up; those in the second half of what an invocation can have are not there where it is narrow.
const SUMS: u32 = 512u;
const IS_WIDE: bool = SUMS > 32u;

// Elements that are computed at once.
const CHUNK: u32 = 64u;

// Where keys lie that follow each other: the part of the sequence that is theirs, and their places in it.
struct Keys {
    part: vec4<u32>,
    place: vec4<u32>,
}

fn keys_from(j: vec4<u32>) -> Keys {
    return Keys(j % params.gather, j / params.gather);
}

// The keys that come so many places and parts behind others.
fn behind(keys: Keys, parts: u32, places: u32) -> Keys {
    let part = keys.part + parts;
    let over = part >= vec4<u32>(params.gather);
    return Keys(select(part, part - params.gather, over), keys.place + places + select(vec4<u32>(), vec4<u32>(1u), over));
}

fn row_of(keys: Keys, sequence: u32) -> vec4<u32> {
    let of_rank = params.keys / params.gather;
    return (keys.part * params.batch + sequence) * of_rank + keys.place;
}
