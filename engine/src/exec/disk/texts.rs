//! Texts in a folder, read as bytes: a sample is a part of one, read where it lies.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::samples::{MAX_SAMPLES, failed, is_file};
use crate::exec::ExecError;
use crate::exec::data::Sample;
use crate::model::Architecture;
use crate::scenario::Scenario;
use crate::units::Bytes;

/// Tokens of a model that reads bytes.
const VOCABULARY: u32 = 256;

/// Whether a model predicts the next token of a text.
pub(super) fn reads_text(scenario: &Scenario) -> bool {
    let model = scenario.model();
    model.image.is_none() && model.recommender.is_none() && model.architecture != Architecture::Bert
}

/// Parts of texts, one behind the other.
#[derive(Clone, Debug)]
pub struct Texts {
    /// Each text, and the number of its first part.
    texts: Vec<(PathBuf, u32)>,
    count: u32,
    length: u32,
}

impl Texts {
    /// The texts in a folder; none where there is none.
    ///
    /// # Errors
    /// When the model does not predict the next token, knows fewer than 256, or no text is long enough.
    pub(super) fn open(folder: &Path, found: &[PathBuf], scenario: &Scenario) -> Result<Option<Self>, ExecError> {
        let files: Vec<&PathBuf> = found.iter().filter(|path| is_file(path, &["txt"])).collect();
        if files.is_empty() {
            return Ok(None);
        }
        let (model, length) = (scenario.model(), scenario.data().sequence_length);
        let refused = |why: String| Err(failed("cannot use", folder, why));
        if !reads_text(scenario) {
            return refused("it holds texts, and the model does not predict the next token of one".to_owned());
        }
        if model.vocab < VOCABULARY {
            let known = model.vocab;
            return refused(format!(
                "texts are read as bytes, and the model knows {known}: set model.vocab = {VOCABULARY}"
            ));
        }
        let (mut texts, mut count) = (Vec::new(), 0_u32);
        for path in files {
            let bytes = fs::metadata(path).map_err(|error| failed("cannot read", path, error))?.len();
            // A part has a token more than the model reads: the last target.
            let parts = bytes.saturating_sub(1) / u64::from(length.max(1));
            texts.push((path.clone(), count));
            count = count.saturating_add(u32::try_from(parts).unwrap_or(u32::MAX));
        }
        if count > MAX_SAMPLES {
            return refused(format!(
                "it holds {count} samples; expected at most {MAX_SAMPLES}: take fewer texts, or longer sequences"
            ));
        }
        if count == 0 {
            return refused(format!("no text in it has the {} bytes of a sample", length + 1));
        }
        Ok(Some(Self { texts, count, length }))
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn size(&self) -> Bytes {
        Bytes(u64::from(self.length) + 1)
    }

    pub(super) fn read(&self, number: u32) -> Result<Vec<u8>, ExecError> {
        let place = self.texts.partition_point(|&(_, first)| first <= number).saturating_sub(1);
        let Some((path, first)) = self.texts.get(place) else {
            return Err(failed("cannot read", Path::new("a text"), "there is none"));
        };
        let mut content = vec![0; self.length as usize + 1];
        let start = u64::from(number - first) * u64::from(self.length);
        let read = File::open(path).and_then(|mut file| {
            file.seek(SeekFrom::Start(start))?;
            file.read_exact(&mut content)
        });
        match read {
            Ok(()) => Ok(content),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                let end = start + content.len() as u64;
                Err(failed(
                    "cannot read",
                    path,
                    format!(
                        "it ends before byte {end}, which it had when the run began: restore the file, or start the run again with what is left of it"
                    ),
                ))
            }
            Err(error) => Err(failed("cannot read", path, error)),
        }
    }

    pub(super) fn decode(&self, content: &[u8]) -> Sample {
        let tokens: Vec<u32> = content.iter().map(|&byte| byte.into()).collect();
        let length = (self.length as usize).min(tokens.len().saturating_sub(1));
        Sample::from([
            ("embedding tokens", tokens[..length].to_vec()),
            ("head targets", tokens[tokens.len() - length..].to_vec()),
        ])
    }
}
