// The largest elements by magnitude of what has not been sent yet (Lin et al. 2018, "Deep gradient compression"; error
// feedback: Karimireddy et al. 2019): `error += grad`, then the `kept` largest go to `largest`, each as its value and its
// place, by place, and are taken out of the error. Of equals the first ones go.
//
// One workgroup finds the least magnitude that goes, byte by byte from the highest, and writes: every invocation of a run
// of elements, behind what those before it write.
//
// CPU twin: engine/src/exec/cpu/select_largest.rs

struct Params {
    n: u32,
    kept: u32,
}

@group(0) @binding(0) var<storage, read> grad: array<f32>;
@group(0) @binding(1) var<storage, read_write> largest: array<u32>;
@group(0) @binding(2) var<storage, read_write> error: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

const LANES: u32 = 256u;

var<workgroup> counts: array<atomic<u32>, LANES>;
// The bytes of the least magnitude that are known, and how many elements with these still go.
var<workgroup> known: u32;
var<workgroup> left: u32;
// Of each invocation: elements above the least magnitude, and of it.
var<workgroup> above: array<u32, LANES>;
var<workgroup> equal: array<u32, LANES>;

fn size_of(i: u32) -> u32 {
    return bitcast<u32>(error[i]) & 0x7fffffffu;
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
    for (var i = lane; i < params.n; i += LANES) {
        error[i] = error[i] + grad[i];
    }
    if lane == 0u {
        known = 0u;
        left = params.kept;
    }
    for (var byte = 4u; byte > 0u; byte--) {
        let shift = (byte - 1u) * 8u;
        atomicStore(&counts[lane], 0u);
        storageBarrier();
        workgroupBarrier();
        let prefix = known;
        for (var i = lane; i < params.n; i += LANES) {
            let size = size_of(i);
            // Of all bytes above this one.
            if byte == 4u || (size >> (shift + 8u)) == (prefix >> (shift + 8u)) {
                atomicAdd(&counts[(size >> shift) & 0xffu], 1u);
            }
        }
        workgroupBarrier();
        if lane == 0u {
            var value = 255u;
            while value > 0u && atomicLoad(&counts[value]) < left {
                left -= atomicLoad(&counts[value]);
                value--;
            }
            known = prefix | (value << shift);
        }
        workgroupBarrier();
    }
    let least = known;
    let share = (params.n + LANES - 1u) / LANES;
    let first = min(lane * share, params.n);
    let end = min(first + share, params.n);
    var larger = 0u;
    var same = 0u;
    for (var i = first; i < end; i++) {
        let size = size_of(i);
        larger += select(0u, 1u, size > least);
        same += select(0u, 1u, size == least);
    }
    above[lane] = larger;
    equal[lane] = same;
    workgroupBarrier();
    var before = 0u;
    var same_before = 0u;
    for (var other = 0u; other < lane; other++) {
        before += above[other];
        same_before += equal[other];
    }
    var place = before + min(same_before, left);
    for (var i = first; i < end; i++) {
        let size = size_of(i);
        let goes = size > least || (size == least && same_before < left);
        same_before += select(0u, 1u, size == least);
        if goes {
            largest[2u * place] = bitcast<u32>(error[i]);
            largest[2u * place + 1u] = i;
            error[i] = 0.0;
            place++;
        }
    }
}
