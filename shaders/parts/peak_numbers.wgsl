// The buffer and parameters of kernels that find the peak rate of floating point.

struct Params {
    n: u32,
    rounds: u32,
    factor: f32,
}

@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(0) @binding(1) var<uniform> params: Params;
