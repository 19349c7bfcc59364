// Sums over a workgroup of 64.

const LANES: u32 = 64u;

var<workgroup> lanes: array<f32, LANES>;

// The sum over the workgroup, lane after lane, so that its order never changes; every invocation adds it up for itself,
// since barriers cost more than that.
fn total(lane: u32, term: f32) -> f32 {
    workgroupBarrier();
    lanes[lane] = term;
    workgroupBarrier();
    var sum = 0.0;
    for (var other = 0u; other < LANES; other++) {
        sum += lanes[other];
    }
    return sum;
}
