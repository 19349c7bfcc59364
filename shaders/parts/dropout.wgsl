// Which elements dropout keeps: by the number of the element in the whole batch, so that every way of sharding drops the
// same. Random numbers are those of Philox4x32-10 (Salmon et al. 2011), four for each counter.

struct Params {
    n: u32,
    cols: u32,
    // The first element here, and the row of the micro-batch that it stands in.
    offset: u32,
    row: u32,
    // Rows of a sample that this rank has: every `stride`-th from `first` on, of `sample_rows`.
    own_rows: u32,
    stride: u32,
    first: u32,
    sample_rows: u32,
    // Number of the micro-batch's first sample in the batch, and the first column here.
    sample: u32,
    column: u32,
    threshold: u32,
    scale: f32,
    key_low: u32,
    key_high: u32,
    has_bias: u32,
}

// The product of two words: its lower and its upper word.
fn wide_product(a: u32, b: u32) -> vec2<u32> {
    let low = vec2(a & 0xffffu, b & 0xffffu);
    let high = vec2(a >> 16u, b >> 16u);
    let middle = high.x * low.y + ((low.x * low.y) >> 16u);
    let other = low.x * high.y + (middle & 0xffffu);
    return vec2(a * b, high.x * high.y + (middle >> 16u) + (other >> 16u));
}

fn philox(start: vec4<u32>, start_key: vec2<u32>) -> vec4<u32> {
    var counter = start;
    var key = start_key;
    for (var round = 0u; round < 10u; round++) {
        let first = wide_product(0xd2511f53u, counter.x);
        let second = wide_product(0xcd9e8d57u, counter.z);
        counter = vec4(second.y ^ counter.y ^ key.x, second.x, first.y ^ counter.w ^ key.y, first.x);
        key += vec2(0x9e3779b9u, 0xbb67ae85u);
    }
    return counter;
}

// Of the four elements of a word from element `start` on, those that are kept, a byte each.
fn kept_of(start: u32, step: u32) -> u32 {
    var bytes = 0u;
    var known = vec2(0xffffffffu);
    var numbers = vec4(0u);
    for (var place = 0u; place < 4u && start + place < params.n; place++) {
        let i = start + place;
        let column = params.column + i % params.cols;
        let whole = params.row + i / params.cols;
        let token = whole % params.own_rows * params.stride + params.first;
        let row = (params.sample + whole / params.own_rows) * params.sample_rows + token;
        let counter = vec2(column / 4u, row);
        if any(counter != known) {
            numbers = philox(vec4(counter, step, 0u), vec2(params.key_low, params.key_high));
            known = counter;
        }
        bytes |= select(0u, 1u, numbers[column % 4u] >= params.threshold) << (place * 8u);
    }
    return bytes;
}
