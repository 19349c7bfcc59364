//! Handwritten digits as images of any size: the test set of Alpaydin & Kaynak 1998, 8 × 8 pixels of 17 shades.

use rand_chacha::rand_core::Rng;

use super::pixels::{CHANNELS, in_patches};
use crate::model::Image;

/// Pixels of a side of an image as it ships.
const SIDE: u32 = 8;
/// The darkest shade.
const DARKEST: f32 = 16.0;

/// The images and what they show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digits {
    images: Vec<(u32, Vec<u8>)>,
}

impl Default for Digits {
    fn default() -> Self {
        let line = |line: &str| {
            let (class, shades) = line.split_once(' ')?;
            let shades = shades.bytes().map(|shade| if shade > b'9' { shade - b'a' + 10 } else { shade - b'0' });
            Some((class.parse().ok()?, shades.collect()))
        };
        let text = include_str!("../../../../assets/datasets/digits.txt");
        Self { images: text.lines().filter_map(line).collect() }
    }
}

impl Digits {
    /// Kinds of digits.
    pub const CLASSES: u32 = 10;

    /// How many there are.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// A digit at random: its pixels patch by patch, the rows of a patch one after the other, from -1 to 1; and its class.
    pub fn sample(&self, image: Image, random: &mut impl Rng) -> (Vec<f32>, u32) {
        let count = self.images.len().max(1) as u64;
        let Some((class, shades)) = self.images.get(usize::try_from(random.next_u64() % count).unwrap_or(0)) else {
            return (Vec::new(), 0);
        };
        let pixels = in_patches(image, |x, y| {
            let at = (y * SIDE / image.size) * SIDE + x * SIDE / image.size;
            let shade = f32::from(shades.get(at as usize).copied().unwrap_or(0)) * 2.0 / DARKEST - 1.0;
            [shade; CHANNELS as usize]
        });
        (pixels, *class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    #[test]
    fn every_digit_has_64_shades_and_all_classes_are_there() {
        let digits = Digits::default();
        assert_eq!(digits.len(), 1797);
        assert!(digits.images.iter().all(|(class, shades)| *class < 10 && shades.len() == 64));
        assert!(digits.images.iter().all(|(_, shades)| shades.iter().all(|&shade| shade <= 16)));
        assert!((0..10).all(|class| digits.images.iter().filter(|(c, _)| *c == class).count() > 150));
    }

    #[test]
    fn patches_put_together_are_the_image() {
        let digits = Digits::default();
        let image = |patch| Image { size: 16, patch, classes: 10 };
        let (whole, class) = digits.sample(image(1), &mut ChaCha8Rng::seed_from_u64(3));
        let (patches, same) = digits.sample(image(4), &mut ChaCha8Rng::seed_from_u64(3));
        assert_eq!((class, whole.len()), (same, 16 * 16 * 3));
        let pixel = |y: usize, x: usize| whole[(y * 16 + x) * 3];
        let in_patches = |y: usize, x: usize| patches[(((y / 4 * 4 + x / 4) * 4 + y % 4) * 4 + x % 4) * 3];
        assert!((0..256).all(|i| pixel(i / 16, i % 16) == in_patches(i / 16, i % 16)));
    }
}
