// The parameters of all kernels of group norm.

struct Params {
    images: u32,
    pixels: u32,
    cols: u32,
    groups: u32,
    eps: f32,
}
