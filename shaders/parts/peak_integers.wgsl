// The buffer and parameters of kernels that find the peak rate of integers.

struct Params {
    n: u32,
    rounds: u32,
    factor: u32,
    // Nothing, which a compiler does not know.
    zero: u32,
}

@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@group(0) @binding(1) var<uniform> params: Params;
