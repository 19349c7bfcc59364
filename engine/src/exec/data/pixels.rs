//! Images as models read them.

use super::Sample;
use crate::model::Image;

/// Colours of a pixel.
pub const CHANNELS: u32 = 3;

/// The pixels of an image patch by patch, the rows of a patch one after the other; `color` gives those in column and row.
pub fn in_patches(image: Image, color: impl Fn(u32, u32) -> [f32; CHANNELS as usize]) -> Vec<f32> {
    let (patch, across) = (image.patch, image.size / image.patch);
    let mut pixels = Vec::with_capacity((image.patches() * image.patch_width()) as usize);
    for number in 0..across * across {
        for within in 0..patch * patch {
            let y = number / across * patch + within / patch;
            let x = number % across * patch + within % patch;
            pixels.extend(color(x, y));
        }
    }
    pixels
}

/// A sample of an image and its class.
pub fn image_sample(pixels: Vec<f32>, class: u32) -> Sample {
    let pixels: Vec<u32> = pixels.into_iter().map(f32::to_bits).collect();
    // One of the two is what the model asks for.
    Sample::from([
        ("embedding patches", pixels.clone()),
        ("embedding images", pixels),
        ("head targets", vec![class]),
        ("head first tokens positions", vec![0]),
    ])
}
