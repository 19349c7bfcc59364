//! Group norm: each group of channels of each image, `y = (x - mean) * rstd * weight + shift` (Wu & He 2018).
//!
//! `x` and `y` are `[images * pixels, cols]`; `stats[images * groups, 2]` gets `mean` and `rstd = 1 / sqrt(variance + eps)`.
//! A workgroup of the shader has a group of an image; it sums by lanes, and then over them.

use super::batch_norm::lane_sum;
use super::{Real, real};
use crate::exec::kernel::{Kernel, KernelParams};

/// Parameters of [`group_norm`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
pub struct GroupNormParams {
    /// Number of images.
    pub images: u32,
    /// Pixels of an image.
    pub pixels: u32,
    /// Channels.
    pub cols: u32,
    /// Groups of channels, as wide each.
    pub groups: u32,
    /// Stabiliser.
    pub eps: f32,
    /// Fills up 16 bytes.
    pub pad: [u32; 3],
}

impl KernelParams for GroupNormParams {
    const KERNEL: Kernel = Kernel::GroupNorm;

    fn grid(&self) -> [u32; 3] {
        [self.groups, self.images, 1]
    }
}

impl GroupNormParams {
    /// Elements of a group of an image.
    pub(super) fn elements(&self) -> usize {
        (self.pixels * (self.cols / self.groups)) as usize
    }

    /// Where element `e` of a group of an image lies, and its channel.
    pub(super) fn place(&self, image: u32, group: u32, e: usize) -> (usize, usize) {
        let width = (self.cols / self.groups) as usize;
        let channel = group as usize * width + e % width;
        ((image as usize * self.pixels as usize + e / width) * self.cols as usize + channel, channel)
    }
}

/// Writes `y` and `stats`.
pub fn group_norm<T: Real>(x: &[T], weight: &[T], shift: &[T], y: &mut [T], stats: &mut [T], p: &GroupNormParams) {
    let n = p.elements();
    let count = T::of(n as f64);
    for (image, group) in (0..p.images).flat_map(|image| (0..p.groups).map(move |group| (image, group))) {
        let at = |e: usize| x[p.place(image, group, e).0];
        let mean = lane_sum(n, at) / count;
        let variance = lane_sum(n, |e| (at(e) - mean) * (at(e) - mean)) / count;
        let rstd = (variance + real(p.eps)).sqrt().recip();
        for e in 0..n {
            let (i, channel) = p.place(image, group, e);
            y[i] = (x[i] - mean) * rstd * weight[channel] + shift[channel];
        }
        let row = (image * p.groups + group) as usize;
        (stats[2 * row], stats[2 * row + 1]) = (mean, rstd);
    }
}
