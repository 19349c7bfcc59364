//! A folder with a file for every sample, written for a model.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::samples::failed;
use crate::exec::ExecError;
use crate::exec::checkpoint::write_aside;
use crate::exec::data::{Sample, Source};
use crate::scenario::Scenario;
use crate::units::Bytes;

/// The name of the file that says what is in a folder.
pub(super) const ABOUT: &str = "samples.json";

/// Every input that a sample may bring: names in files become these.
const INPUTS: [&str; 9] = [
    "embedding tokens",
    "head targets",
    "embedding patches",
    "embedding images",
    "head first tokens positions",
    "head masked tokens positions",
    "head pair targets",
    "embedding dense features",
    "embedding ids",
];

/// What is in a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    /// How many samples.
    count: u32,
    /// Bytes of each as it lies there.
    bytes: u64,
    /// What they were made for: the inputs with their words.
    inputs: BTreeMap<String, usize>,
    /// Whether each ends with the CRC-32 of what comes before; not in folders of older versions.
    #[serde(default)]
    checked: bool,
}

/// Bytes of a checksum.
const CHECKSUM: usize = 4;

/// Samples in a folder.
#[derive(Clone, Debug)]
pub struct Written {
    folder: PathBuf,
    about: About,
}

/// The samples that a scenario trains on, one after the other: those of the first step first.
fn samples_of(scenario: &Scenario) -> impl Iterator<Item = Sample> {
    let (source, batch) = (Source::of(scenario), scenario.strategy().global_batch);
    let (seed, length) = (scenario.run().seed, scenario.data().sequence_length);
    (1..).flat_map(move |step| source.batch(seed, step, batch, length))
}

fn inputs_of(sample: &Sample) -> BTreeMap<String, usize> {
    sample.iter().map(|(name, words)| ((*name).to_owned(), words.len())).collect()
}

/// Whether a file ends with the checksum of what comes before.
fn is_whole(content: &[u8]) -> bool {
    content.split_last_chunk::<CHECKSUM>().is_some_and(|(rest, sum)| crc32fast::hash(rest) == u32::from_le_bytes(*sum))
}

impl Written {
    /// The samples in a folder.
    ///
    /// # Errors
    /// When they cannot be read, or are of another kind of model.
    pub(super) fn open(folder: &Path, scenario: &Scenario) -> Result<Self, ExecError> {
        let about = folder.join(ABOUT);
        let text = fs::read(&about).map_err(|error| failed("cannot read", &about, error))?;
        let about: About = serde_json::from_slice(&text).map_err(|error| failed("cannot use", &about, error))?;
        let wanted = samples_of(scenario).next().map(|sample| inputs_of(&sample)).unwrap_or_default();
        if about.inputs != wanted {
            let why =
                format!("its samples have {:?}, the model reads {wanted:?}; choose an empty folder", about.inputs);
            return Err(failed("cannot use", folder, why));
        }
        Ok(Self { folder: folder.to_owned(), about })
    }

    /// Writes as many samples as are asked for, each filled up to `bytes`.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(super) fn make(folder: &Path, scenario: &Scenario, count: u32, bytes: Bytes) -> Result<Self, ExecError> {
        fs::create_dir_all(folder).map_err(|error| failed("cannot make", folder, error))?;
        let mut about = About { count, bytes: bytes.0, inputs: BTreeMap::new(), checked: true };
        for (number, sample) in (0..count).zip(samples_of(scenario)) {
            let path = path_of(folder, number);
            let mut content = postcard::to_allocvec(&sample).map_err(|error| failed("cannot write", &path, error))?;
            // What a photograph has more than a digit: bytes that are read and not used.
            let filled = usize::try_from(bytes.0).unwrap_or(usize::MAX).max(content.len() + CHECKSUM);
            content.resize(filled - CHECKSUM, 0x5a);
            content.extend(crc32fast::hash(&content).to_le_bytes());
            about.inputs = inputs_of(&sample);
            about.bytes = about.bytes.max(content.len() as u64);
            fs::write(&path, content).map_err(|error| failed("cannot write", &path, error))?;
        }
        let text = serde_json::to_vec_pretty(&about).map_err(|error| failed("cannot write", folder, error))?;
        write_aside(&folder.join(ABOUT), &text)?;
        Self::open(folder, scenario)
    }

    /// How many there are.
    pub(super) fn count(&self) -> u32 {
        self.about.count
    }

    /// Bytes of each as it lies there.
    pub(super) fn bytes(&self) -> Bytes {
        Bytes(self.about.bytes)
    }

    /// The file of a sample.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn read(&self, number: u32) -> Result<Vec<u8>, ExecError> {
        let path = path_of(&self.folder, number);
        let content = fs::read(&path).map_err(|error| failed("cannot read", &path, error))?;
        if self.about.checked && !is_whole(&content) {
            let why = "it was cut off or changed since it was written: empty the folder to have samples made anew";
            return Err(failed("cannot use", &path, why));
        }
        Ok(content)
    }

    /// The sample in a file.
    ///
    /// # Errors
    /// When it holds none, or one of another kind.
    pub(super) fn decode(&self, number: u32, content: &[u8]) -> Result<Sample, ExecError> {
        let path = path_of(&self.folder, number);
        let (found, _) = postcard::take_from_bytes::<BTreeMap<String, Vec<u32>>>(content)
            .map_err(|error| failed("cannot use", &path, error))?;
        let known = |name: &str| INPUTS.into_iter().find(|input| *input == name);
        let same = found.iter().all(|(name, words)| self.about.inputs.get(name) == Some(&words.len()));
        if !same || found.len() != self.about.inputs.len() {
            return Err(failed("cannot use", &path, "it is of another kind than the others"));
        }
        let named = found.into_iter().map(|(name, words)| known(&name).map(|name| (name, words)));
        named
            .collect::<Option<Sample>>()
            .ok_or_else(|| failed("cannot use", &path, "it brings an input that no model reads"))
    }
}

fn path_of(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:08}.sample"))
}
