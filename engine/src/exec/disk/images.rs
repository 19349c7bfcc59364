//! A folder of images with a folder for each class, as torchvision's `ImageFolder` has it.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::imageops::FilterType;
use image::{DynamicImage, ImageReader, RgbImage};

use super::samples::{entries, failed, is_file};
use crate::exec::ExecError;
use crate::exec::data::Sample;
use crate::exec::data::pixels::{image_sample, in_patches};
use crate::model::Image;
use crate::scenario::Scenario;
use crate::units::Bytes;

/// Pixels of an image, at most: no image decides how much memory it takes.
const MAX_PIXELS: u64 = 64_000_000;

/// Ends of names of images.
const ENDS: [&str; 3] = ["png", "jpg", "jpeg"];

/// An image and what it shows.
#[derive(Clone, Debug)]
struct Picture {
    path: PathBuf,
    class: u32,
    size: Bytes,
}

/// Images with their classes.
#[derive(Clone, Debug)]
pub struct Images {
    pictures: Vec<Picture>,
    image: Image,
}

impl Images {
    /// The images in folders of `folder`, which are classes by name; none where there is none.
    ///
    /// # Errors
    /// When the model reads no images, or has fewer classes.
    pub(super) fn open(folder: &Path, found: &[PathBuf], scenario: &Scenario) -> Result<Option<Self>, ExecError> {
        let mut pictures = Vec::new();
        let mut classes = 0;
        for class in found.iter().filter(|path| path.is_dir()) {
            let images: Vec<PathBuf> = entries(class)?.into_iter().filter(|path| is_file(path, &ENDS)).collect();
            for path in &images {
                let size = fs::metadata(path).map_err(|error| failed("cannot read", path, error))?.len();
                pictures.push(Picture { path: path.clone(), class: classes, size: Bytes(size.max(1)) });
            }
            classes += u32::from(!images.is_empty());
        }
        if pictures.is_empty() {
            return Ok(None);
        }
        let refused = |why: String| Err(failed("cannot use", folder, why));
        let Some(image) = scenario.model().image else {
            return refused(
                "it holds images, and the model reads none; choose tiny-resnet-folder-1, or a ViT".to_owned(),
            );
        };
        if classes > image.classes {
            let known = image.classes;
            return refused(format!(
                "it holds {classes} classes, the model has {known}: set model.classes = {classes}"
            ));
        }
        Ok(Some(Self { pictures, image }))
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.pictures.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn size(&self, number: u32) -> Bytes {
        self.pictures.get(number as usize).map_or(Bytes(1), |picture| picture.size)
    }

    fn picture(&self, number: u32) -> Result<&Picture, ExecError> {
        self.pictures.get(number as usize).ok_or_else(|| {
            failed("cannot read", Path::new(&number.to_string()), "there are fewer samples in the folder")
        })
    }

    pub(super) fn read(&self, number: u32) -> Result<Vec<u8>, ExecError> {
        let path = &self.picture(number)?.path;
        fs::read(path).map_err(|error| failed("cannot read", path, error))
    }

    /// The middle of the image, as large as the model reads it, with colours from -1 to 1.
    pub(super) fn decode(&self, number: u32, content: &[u8]) -> Result<Sample, ExecError> {
        let picture = self.picture(number)?;
        let unusable = |why: String| failed("cannot use", &picture.path, why);
        let reader = || ImageReader::new(Cursor::new(content)).with_guessed_format();
        let size = reader().map(ImageReader::into_dimensions).map_err(|error| unusable(error.to_string()))?;
        let (width, height) = size.map_err(|error| unusable(error.to_string()))?;
        if u64::from(width) * u64::from(height) > MAX_PIXELS {
            return Err(unusable(format!(
                "it has {width} x {height} pixels; expected at most {MAX_PIXELS}: scale it down"
            )));
        }
        let decoded = reader().map(ImageReader::decode).map_err(|error| unusable(error.to_string()))?;
        let decoded = decoded.map_err(|error| unusable(error.to_string()))?;
        let pixels = fitted(&decoded, self.image.size);
        let color = |x: u32, y: u32| pixels.get_pixel(x, y).0.map(|shade| f32::from(shade) / 127.5 - 1.0);
        Ok(image_sample(in_patches(self.image, color), picture.class))
    }
}

/// The middle square of an image, scaled; in colours only then, when it is small.
fn fitted(image: &DynamicImage, size: u32) -> RgbImage {
    let side = image.width().min(image.height());
    let (left, top) = ((image.width() - side) / 2, (image.height() - side) / 2);
    image.crop_imm(left, top, side, side).resize_exact(size, size, FilterType::Triangle).into_rgb8()
}
