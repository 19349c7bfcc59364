//! Images, and residual networks of convolutions (He et al. 2016).

use serde::Serialize;

/// Colours of a pixel.
pub const CHANNELS: u32 = 3;

/// The images that a model sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Image {
    /// Pixels of a side.
    pub size: u32,
    /// Pixels of a side of a patch that is one token; 1 where convolutions see single pixels.
    pub patch: u32,
    /// Classes.
    pub classes: u32,
}

impl Image {
    /// Patches of an image.
    pub fn patches(&self) -> u32 {
        (self.size / self.patch).pow(2)
    }

    /// Numbers of a patch.
    pub fn patch_width(&self) -> u32 {
        self.patch * self.patch * CHANNELS
    }
}

/// Four stages of residual blocks. Each stage but the first halves the side of the image and doubles the channels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConvNet {
    /// Blocks of every stage.
    pub blocks: Vec<u32>,
    /// Whether a block is 1 × 1, 3 × 3, 1 × 1 with four times as many channels behind it, rather than two of 3 × 3.
    pub bottleneck: bool,
    /// Channels of the first convolution and inside the blocks of the first stage.
    pub width: u32,
    /// Groups of channels that norms treat by themselves in every image (Wu & He 2018); none for norms over a batch.
    pub groups: Option<u32>,
}

/// The sizes of a residual block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Channels that come in.
    pub inputs: u32,
    /// Channels inside.
    pub width: u32,
    /// Channels that go out.
    pub outputs: u32,
    /// By how much it shrinks the side of the image.
    pub stride: u32,
    /// Pixels of a side of what comes in.
    pub side: u32,
    /// Whether what goes around it is projected to its shape by a convolution of its own.
    pub projects: bool,
}

/// Side of the first convolution's kernel.
pub const STEM_KERNEL: u32 = 7;

impl ConvNet {
    /// Blocks in all.
    pub fn layers(&self) -> u32 {
        self.blocks.iter().fold(0, |sum, &n| sum.saturating_add(n))
    }

    /// Channels behind the blocks of a stage.
    fn outputs(&self, stage: u32) -> u32 {
        (self.width << stage) * if self.bottleneck { 4 } else { 1 }
    }

    /// Channels behind the last block.
    pub fn features(&self) -> u32 {
        self.outputs(u32::try_from(self.blocks.len()).unwrap_or(1).saturating_sub(1))
    }

    /// Side of an image behind the first convolution and the pooling, each of which halves it.
    pub fn first_side(size: u32) -> u32 {
        size.div_ceil(2).div_ceil(2)
    }

    /// The block with a number, counted over all stages, for images of `size`; the last for a number beyond.
    pub fn block(&self, layer: u32, size: u32) -> Block {
        let (mut first, mut side, mut inputs) = (0, Self::first_side(size), self.width);
        let mut found = Block { inputs, width: inputs, outputs: inputs, stride: 1, side, projects: false };
        for (stage, &count) in (0..).zip(&self.blocks) {
            let outputs = self.outputs(stage);
            for number in first..first + count {
                let stride = if number == first && stage > 0 { 2 } else { 1 };
                let projects = stride > 1 || inputs != outputs;
                found = Block { inputs, width: self.width << stage, outputs, stride, side, projects };
                if number == layer {
                    return found;
                }
                (side, inputs) = (side.div_ceil(stride), outputs);
            }
            first += count;
        }
        found
    }

    /// All blocks in order.
    pub fn all_blocks(&self, size: u32) -> impl Iterator<Item = Block> + '_ {
        (0..self.layers()).map(move |layer| self.block(layer, size))
    }
}

impl Block {
    /// Its convolutions as side of the kernel, channels in and out, and side of the result; the projection last.
    pub fn convolutions(&self, bottleneck: bool) -> Vec<[u32; 4]> {
        let (inside, behind) = (self.side, self.side.div_ceil(self.stride));
        let mut all = if bottleneck {
            vec![
                [1, self.inputs, self.width, inside],
                [3, self.width, self.width, behind],
                [1, self.width, self.outputs, behind],
            ]
        } else {
            vec![[3, self.inputs, self.width, behind], [3, self.width, self.outputs, behind]]
        };
        all.extend(self.projects.then_some([1, self.inputs, self.outputs, behind]));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resnet_50_has_the_sizes_of_its_table() {
        let net = ConvNet { blocks: vec![3, 4, 6, 3], bottleneck: true, width: 64, groups: None };
        let last = net.block(15, 224);
        // He et al. 2016, table 1: conv5_x works on 7 × 7 with 512 channels, 2048 behind.
        assert_eq!((last.side, last.width, last.outputs, last.stride), (7, 512, 2048, 1));
        let entering = net.block(13, 224);
        assert_eq!((entering.side, entering.inputs, entering.stride, entering.projects), (14, 1024, 2, true));
        assert_eq!(net.layers(), 16);
    }
}
