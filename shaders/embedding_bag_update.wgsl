// Row-wise Adagrad on the rows of one table that were looked up: with `g` the sum of `dout` over the lookups of a row,
// `state += mean of g^2`, `weight -= rate * g / (sqrt(state) + eps)` (Duchi et al. 2011; rows as one, as FBGEMM has it, Khudia
// et al. 2021).
//
// An invocation of the shader has a row of the table: it goes through all lookups in order and remembers those of its row, so
// nothing races.
//
// CPU twin: engine/src/exec/cpu/embedding_bag_update.rs

struct Params {
    batch: u32,
    cols: u32,
    lookups: u32,
    of_sample: u32,
    id_offset: u32,
    row_offset: u32,
    table: u32,
    tables: u32,
    rows: u32,
    rate: f32,
    unscale: f32,
}

@group(0) @binding(0) var<storage, read> ids: array<u32>;
@group(0) @binding(1) var<storage, read> dout: array<f32>;
@group(0) @binding(2) var<storage, read_write> weight: array<f32>;
@group(0) @binding(3) var<storage, read_write> state: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

const EPS: f32 = 1e-8;

// Lookups of a row that are remembered; those beyond are looked for again.
const KEPT: u32 = 8u;

var<private> places: array<u32, KEPT>;

fn is_looked_up(r: u32, s: u32, l: u32) -> bool {
    return ids[s * params.of_sample + params.id_offset + l] == r;
}

// How often row `r` was looked up; of the first of these, by which samples.
fn found(r: u32) -> u32 {
    var count = 0u;
    for (var s = 0u; s < params.batch; s++) {
        for (var l = 0u; l < params.lookups; l++) {
            if is_looked_up(r, s, l) {
                if count < KEPT {
                    places[count] = s;
                }
                count++;
            }
        }
    }
    return count;
}

// Four columns of what came to sample `s`.
fn of_sample(s: u32, at: vec4<u32>) -> vec4<f32> {
    let d = at + (s * params.tables + params.table) * params.cols;
    return vec4<f32>(dout[d.x], dout[d.y], dout[d.z], dout[d.w]);
}

// Four columns, from `j` on, of the gradient of row `r`; those beyond the last are zero.
fn gradient(r: u32, count: u32, j: u32) -> vec4<f32> {
    let columns = vec4<u32>(j) + vec4<u32>(0u, 1u, 2u, 3u);
    let at = min(columns, vec4<u32>(params.cols - 1u));
    var sum = vec4<f32>();
    for (var k = 0u; k < min(count, KEPT); k++) {
        sum += of_sample(places[k], at);
    }
    if count > KEPT {
        var seen = 0u;
        for (var s = 0u; s < params.batch; s++) {
            for (var l = 0u; l < params.lookups; l++) {
                if is_looked_up(r, s, l) {
                    if seen >= KEPT {
                        sum += of_sample(s, at);
                    }
                    seen++;
                }
            }
        }
    }
    return select(vec4<f32>(), sum * params.unscale, columns < vec4<u32>(params.cols));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
    let r = gid.x + gid.y * workgroups.x * 64u;
    if r >= params.rows {
        return;
    }
    let count = found(r);
    if count == 0u {
        return;
    }
    var squares = 0.0;
    for (var j = 0u; j < params.cols; j += 4u) {
        let g = gradient(r, count, j);
        squares += dot(g, g);
    }
    // What overflowed updates nothing.
    if !(squares < 3.0e38) {
        return;
    }
    let row = params.row_offset + r;
    state[row] += squares / f32(params.cols);
    let step = params.rate / (sqrt(state[row]) + EPS);
    for (var j = 0u; j < params.cols; j += 4u) {
        let g = gradient(r, count, j);
        for (var x = 0u; x < 4u && j + x < params.cols; x++) {
            weight[row * params.cols + j + x] -= step * g[x];
        }
    }
}
