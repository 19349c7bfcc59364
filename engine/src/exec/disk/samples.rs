//! What lies in a folder: images in a folder for each class, texts, or samples that were written before.

use std::fs;
use std::path::{Path, PathBuf};

use super::images::Images;
use super::texts::{Texts, reads_text};
use super::written::{ABOUT, Written};
use crate::exec::ExecError;
use crate::exec::data::Sample;
use crate::scenario::Scenario;
use crate::units::Bytes;

/// Samples in a folder.
#[derive(Clone, Debug)]
pub enum DiskSamples {
    /// Samples that were written for a model.
    Written(Written),
    /// Images in a folder for each class.
    Images(Images),
    /// Texts, of which a sample is a part.
    Texts(Texts),
}

/// Samples of a folder, at most: the order of an epoch is in memory.
pub(super) const MAX_SAMPLES: u32 = 20_000_000;

/// Files that are looked at, at most.
const MAX_FILES: usize = 10_000_000;

pub(super) fn failed(what: &str, path: &Path, why: impl std::fmt::Display) -> ExecError {
    ExecError::Storage { what: format!("{what} `{}`", path.display()), why: why.to_string() }
}

/// What lies in a folder, by name; hidden files are left out.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>, ExecError> {
    let cannot = |error: std::io::Error| failed("cannot read", folder, error);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
            found.push(path);
        }
        if found.len() > MAX_FILES {
            return Err(failed("cannot use", folder, format!("it holds more than {MAX_FILES} files")));
        }
    }
    found.sort();
    Ok(found)
}

/// Whether it is a file, and no folder, pipe or device, whose name has one of some ends.
pub(super) fn is_file(path: &Path, ends: &[&str]) -> bool {
    let end = path.extension().map(|end| end.to_string_lossy().to_ascii_lowercase());
    end.is_some_and(|end| ends.contains(&end.as_str())) && path.is_file()
}

impl DiskSamples {
    /// The samples in a folder; where there is nothing yet, as many as are asked for are written, each filled up to `bytes`.
    ///
    /// # Errors
    /// When the folder cannot be written or read, or holds nothing that the model reads.
    pub fn open_or_make(folder: &Path, scenario: &Scenario, count: u32, bytes: Bytes) -> Result<Self, ExecError> {
        if folder.join(ABOUT).exists() {
            return Written::open(folder, scenario).map(Self::Written);
        }
        let found = if folder.exists() { entries(folder)? } else { Vec::new() };
        // What says that they are complete is written last: the rest of samples that were being made is made anew.
        if found.iter().all(|path| is_file(path, &["sample"])) {
            return Written::make(folder, scenario, count, bytes).map(Self::Written);
        }
        let images = || Images::open(folder, &found, scenario).map(|images| images.map(Self::Images));
        let texts = || Texts::open(folder, &found, scenario).map(|texts| texts.map(Self::Texts));
        // What the model reads comes first; what it does not is refused by name.
        let samples = if reads_text(scenario) {
            texts()?.map_or_else(images, |found| Ok(Some(found)))?
        } else {
            images()?.map_or_else(texts, |found| Ok(Some(found)))?
        };
        if let Some(samples) = samples {
            return Ok(samples);
        }
        let why = "it holds neither folders of PNG or JPEG images, one for each class, nor .txt files, nor samples that \
                   were written here before; choose an empty folder to have some made";
        Err(failed("cannot use", folder, why))
    }

    /// What they are, in a word: `written`, `images` or `texts`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Written(_) => "written",
            Self::Images(_) => "images",
            Self::Texts(_) => "texts",
        }
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        match self {
            Self::Written(samples) => samples.count(),
            Self::Images(samples) => samples.count(),
            Self::Texts(samples) => samples.count(),
        }
    }

    /// Bytes of one as it lies there.
    pub fn size(&self, number: u32) -> Bytes {
        match self {
            Self::Written(samples) => samples.bytes(),
            Self::Images(samples) => samples.size(number),
            Self::Texts(samples) => samples.size(),
        }
    }

    /// How large they are all, where they are alike.
    pub fn alike(&self) -> Option<Bytes> {
        match self {
            Self::Images(_) => None,
            _ => Some(self.size(0)),
        }
    }

    /// How large they are in the mean.
    pub fn bytes(&self) -> Bytes {
        if let Some(size) = self.alike() {
            return size;
        }
        let all: u64 = (0..self.count()).map(|number| self.size(number).0).sum();
        Bytes(all / u64::from(self.count().max(1)))
    }

    /// What lies there of a sample.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, number: u32) -> Result<Vec<u8>, ExecError> {
        match self {
            Self::Written(samples) => samples.read(number),
            Self::Images(samples) => samples.read(number),
            Self::Texts(samples) => samples.read(number),
        }
    }

    /// The sample in what was read.
    ///
    /// # Errors
    /// When it holds none, or one of another kind.
    pub fn decode(&self, number: u32, content: &[u8]) -> Result<Sample, ExecError> {
        match self {
            Self::Written(samples) => samples.decode(number, content),
            Self::Images(samples) => samples.decode(number, content),
            Self::Texts(samples) => Ok(samples.decode(content)),
        }
    }
}
