// Sums over the rows of eight columns, of which a workgroup of 64 has eight rows at a time.

const COLUMNS: u32 = 8u;
const ROWS: u32 = 8u;

var<workgroup> terms: array<f32, 64>;

// What the invocations of a column have, added up row after row.
fn of_column(lane: u32, term: f32) -> f32 {
    workgroupBarrier();
    terms[lane] = term;
    workgroupBarrier();
    var sum = 0.0;
    for (var row = 0u; row < ROWS; row++) {
        sum += terms[row * COLUMNS + lane % COLUMNS];
    }
    return sum;
}
