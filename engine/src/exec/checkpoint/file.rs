//! A training run as a safetensors file: what every rank keeps from step to step, and where the run stands.
//!
//! A tensor is called `rank/handle/name`. The strategy is part of what is written: a checkpoint is read by the same mesh.

use std::borrow::Cow;

use safetensors::tensor::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};

use crate::exec::loss_scale::LossScale;
use crate::exec::{ExecError, Format};

/// The key of the run's state among the file's metadata.
const STATE: &str = "shardlab";

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Steps that were trained.
    pub steps: u32,
    /// Those that were not skipped.
    pub updates: u32,
    /// The loss scale of the next.
    pub loss_scale: LossScale,
    /// With what it was trained; unknown of files of earlier versions.
    pub made: Option<Made>,
}

/// What a run was trained with that need not be the same when it goes on, and makes it another run where it is not.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// Seed of weights and batches.
    pub seed: u64,
    /// Learning rate.
    pub learning_rate: f64,
}

/// What stands in the metadata, under one key: several would come in any order.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    steps: u32,
    updates: u32,
    loss_scale: LossScale,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    made: Option<Made>,
    /// The checksum of all that: CRC-32 as eight hexadecimal digits. Files of earlier versions have none.
    #[serde(default)]
    crc32: Option<String>,
}

/// A tensor of a rank.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved {
    /// `rank/handle/name`.
    pub name: String,
    /// How its numbers lie in `words`.
    pub format: Format,
    /// Rows and columns.
    pub shape: [usize; 2],
    /// Its numbers, filled up to words.
    pub words: Vec<u32>,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Where the run stands.
    pub progress: Progress,
    /// What the ranks keep.
    pub tensors: Vec<Saved>,
}

impl Checkpoint {
    /// The file; the same checkpoint gives the same bytes.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ExecError> {
        Self::bytes_of(self.progress, self.tensors.iter().collect())
    }

    /// A file of some tensors.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn bytes_of(progress: Progress, mut tensors: Vec<&Saved>) -> Result<Vec<u8>, ExecError> {
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        let Progress { steps, updates, loss_scale, made } = progress;
        let crc32 = Some(checksum(&progress, tensors.iter().copied()));
        let state = serde_json::to_string(&State { steps, updates, loss_scale, made, crc32 }).map_err(unusable)?;
        let metadata = [(STATE.to_owned(), state)].into_iter().collect();
        let views = tensors.into_iter().map(|saved| (saved.name.as_str(), saved));
        safetensors::serialize(views, Some(metadata)).map_err(unusable)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is no safetensors file, is cut off, or was not written by a run.
    pub fn of_bytes(bytes: &[u8]) -> Result<Self, ExecError> {
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(unusable)?;
        let state = metadata.metadata().as_ref().and_then(|metadata| metadata.get(STATE));
        let state = state.ok_or_else(|| unusable(format!("it has no `{STATE}` in its metadata")))?;
        let State { steps, updates, loss_scale, made, crc32 } = serde_json::from_str(state).map_err(unusable)?;
        let progress = Progress { steps, updates, loss_scale, made };
        let file = SafeTensors::deserialize(bytes).map_err(unusable)?;
        let mut tensors = Vec::with_capacity(file.len());
        for (name, view) in file.iter() {
            let (&[rows, cols], Some(format)) = (view.shape(), format_of(view.dtype())) else {
                return Err(unusable(format!("`{name}` is {} {:?}", view.dtype(), view.shape())));
            };
            let mut data = view.data().to_vec();
            data.resize(data.len().next_multiple_of(4), 0);
            tensors.push(Saved {
                name: name.to_owned(),
                format,
                shape: [rows, cols],
                words: bytemuck::pod_collect_to_vec(&data),
            });
        }
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        let found = checksum(&progress, tensors.iter());
        if let Some(said) = crc32.filter(|said| *said != found) {
            return Err(unusable(format!("it was changed: its CRC-32 is {found}, not {said}")));
        }
        if updates > steps || !loss_scale.is_sound() {
            return Err(unusable(format!(
                "it says {updates} updates in {steps} steps, and a loss scale of {}",
                loss_scale.value()
            )));
        }
        Ok(Self { progress, tensors })
    }
}

/// The checksum of a run's state and of tensors in the order of their names, with what they are.
fn checksum<'a>(progress: &Progress, tensors: impl Iterator<Item = &'a Saved>) -> String {
    let mut hasher = crc32fast::Hasher::new();
    let Progress { steps, updates, loss_scale, made } = progress;
    let made = made.map(|made| format!(" {made:?}")).unwrap_or_default();
    hasher.update(format!("{steps} {updates} {loss_scale:?}{made}").as_bytes());
    for saved in tensors {
        hasher.update(format!("{} {:?} {:?}", saved.name, Saved::dtype(saved), saved.shape).as_bytes());
        hasher.update(&View::data(&saved));
    }
    format!("{:08x}", hasher.finalize())
}

impl Saved {
    /// The same with every number of 32 bits rounded to bf16.
    #[must_use]
    pub fn rounded(self) -> Self {
        let half = |&word: &u32| u16::try_from(Format::Bf16.encode(f32::from_bits(word))).unwrap_or(0);
        let halves: Vec<u16> = self.words.iter().map(half).collect();
        let mut bytes: Vec<u8> = bytemuck::cast_slice(&halves).to_vec();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        Self { format: Format::Bf16, words: bytemuck::pod_collect_to_vec(&bytes), ..self }
    }

    /// The same with numbers in bf16 as numbers of 32 bits.
    #[must_use]
    pub fn widened(self) -> Self {
        let count = self.shape.iter().product::<usize>();
        let halves: &[u16] = bytemuck::cast_slice(&self.words);
        let words = halves.iter().take(count).map(|&half| u32::from(half) << 16).collect();
        Self { format: Format::Word, words, ..self }
    }

    /// Without its numbers: what a tensor of that many rows and columns is in a file. Eight bits have their scale behind
    /// them, so they are bytes there.
    pub fn blank(name: String, format: Format, [rows, cols]: [usize; 2]) -> Self {
        let (format, shape) = match format {
            Format::Word | Format::Tf32 => (Format::Word, [rows, cols]),
            Format::Bf16 | Format::F16 => (format, [rows, cols]),
            Format::E4m3 | Format::E5m2 | Format::E4m3Blocks | Format::E2m1Blocks => {
                (Format::E4m3, [1, format.words(rows * cols) * 4])
            }
        };
        Self { name, format, shape, words: Vec::new() }
    }

    /// Words of 32 bits that it takes.
    pub fn words(&self) -> usize {
        self.data_len().div_ceil(4)
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype().bitsize() / 8
    }

    fn dtype(&self) -> Dtype {
        match self.format {
            Format::Word | Format::Tf32 => Dtype::F32,
            Format::Bf16 => Dtype::BF16,
            Format::F16 => Dtype::F16,
            Format::E4m3 | Format::E5m2 | Format::E4m3Blocks | Format::E2m1Blocks => Dtype::U8,
        }
    }
}

impl View for &Saved {
    fn dtype(&self) -> Dtype {
        Saved::dtype(self)
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let bytes: &[u8] = bytemuck::cast_slice(&self.words);
        Cow::Borrowed(&bytes[..Saved::data_len(self).min(bytes.len())])
    }

    fn data_len(&self) -> usize {
        Saved::data_len(self)
    }
}

fn format_of(dtype: Dtype) -> Option<Format> {
    match dtype {
        Dtype::F32 => Some(Format::Word),
        Dtype::BF16 => Some(Format::Bf16),
        Dtype::F16 => Some(Format::F16),
        Dtype::U8 => Some(Format::E4m3),
        _ => None,
    }
}

/// A checkpoint that cannot be used, and why.
pub fn unusable(why: impl std::fmt::Display) -> ExecError {
    ExecError::Checkpoint(why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Precision;

    fn checkpoint() -> Checkpoint {
        let saved =
            |name: &str, format, shape, words: &[u32]| Saved { name: name.into(), format, shape, words: words.into() };
        Checkpoint {
            progress: Progress { steps: 7, updates: 6, loss_scale: LossScale::new(Precision::Fp16), made: None },
            tensors: vec![
                saved("0/1/a", Format::Word, [2, 2], &[1, 2, 3, 4]),
                saved("0/2/b", Format::Bf16, [3, 1], &[5, 6]),
                saved("1/3/c", Format::E4m3, [1, 8], &[7, 8]),
            ],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = checkpoint().to_bytes().expect("it is small");
        assert_eq!(Checkpoint::of_bytes(&bytes).expect("it was written"), checkpoint());
        assert_eq!(checkpoint().to_bytes().expect("again"), bytes);
    }

    #[test]
    fn a_file_that_is_cut_off_anywhere_is_refused() {
        let bytes = checkpoint().to_bytes().expect("it is small");
        for length in 0..bytes.len() {
            let error = Checkpoint::of_bytes(&bytes[..length]).expect_err("something is missing");
            assert!(matches!(error, ExecError::Checkpoint(_)), "{length}: {error}");
        }
    }

    #[test]
    fn a_file_of_another_program_is_refused() {
        let mut other = checkpoint();
        let foreign =
            safetensors::serialize(other.tensors.drain(..1).map(|saved| (saved.name.clone(), Whole(saved))), None);
        let error = Checkpoint::of_bytes(&foreign.expect("it is small")).expect_err("it knows no steps").to_string();
        assert!(error.contains("`shardlab`"), "{error}");
    }

    struct Whole(Saved);

    impl View for Whole {
        fn dtype(&self) -> Dtype {
            self.0.dtype()
        }
        fn shape(&self) -> &[usize] {
            &self.0.shape
        }
        fn data(&self) -> Cow<'_, [u8]> {
            Cow::Borrowed(bytemuck::cast_slice(&self.0.words))
        }
        fn data_len(&self) -> usize {
            self.0.words.len() * 4
        }
    }
}
