//! A checkpoint as a set of files with an index.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use ruzstd::decoding::StreamingDecoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde::{Deserialize, Serialize};

use super::file::{Checkpoint, Saved, unusable};
use crate::exec::ExecError;
use crate::units::{Bytes, Nanos};

/// The name of the index among the files.
pub const INDEX: &str = "index.json";

/// The version of the layout that is written and read.
const VERSION: u32 = 1;

/// How a checkpoint is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointForm {
    /// One file for each rank instead of one for all.
    pub sharded: bool,
    /// Every file compressed by Zstandard (RFC 8878).
    pub compressed: bool,
    /// What several ranks hold alike is written once.
    pub once: bool,
    /// Numbers of 32 bits rounded to bf16: half the size, and a run that goes on no longer ends with the same bits.
    pub reduced: bool,
}

/// A file of a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its name beside the index.
    pub name: String,
    /// Bytes as they are kept.
    pub bytes: u64,
    /// Bytes of the safetensors file in it.
    pub raw_bytes: u64,
    /// CRC-32 (IEEE 802.3) of the bytes as they are kept.
    pub crc32: u32,
}

/// What is in a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// The version of the layout.
    pub version: u32,
    /// Steps that were trained.
    pub steps: u32,
    /// How it was written.
    pub form: CheckpointForm,
    /// Its files.
    pub files: Vec<FileEntry>,
    /// Tensors that another rank holds alike, each with the name of that one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub same: BTreeMap<String, String>,
}

/// The file of an index: it says what holds for all others, so it has a checksum, too.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    index: Index,
    /// CRC-32 of the index as JSON without spaces.
    crc32: u32,
}

/// A checkpoint ready to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// What is in it.
    pub index: Index,
    /// The bytes of every file, in the index's order.
    pub files: Vec<Vec<u8>>,
}

impl Packed {
    /// Packs a checkpoint. Rounding is not done here but where the numbers' formats are known.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn of(checkpoint: &Checkpoint, form: CheckpointForm) -> Result<Self, ExecError> {
        let steps = checkpoint.progress.steps;
        let same = if form.once { held_alike(&checkpoint.tensors) } else { BTreeMap::new() };
        let own = checkpoint.tensors.iter().filter(|saved| !same.contains_key(&saved.name));
        let shards = shards(own, form.sharded);
        let index = Index { version: VERSION, steps, form, files: Vec::new(), same };
        let mut packed = Self { index, files: Vec::new() };
        for (name, tensors) in shards {
            let raw = Checkpoint::bytes_of(checkpoint.progress, tensors)?;
            let raw_bytes = raw.len() as u64;
            let (name, bytes) = if form.compressed {
                (format!("{name}.zst"), compress_to_vec(raw.as_slice(), CompressionLevel::Fastest))
            } else {
                (name, raw)
            };
            let crc32 = crc32fast::hash(&bytes);
            packed.index.files.push(FileEntry { name, bytes: bytes.len() as u64, raw_bytes, crc32 });
            packed.files.push(bytes);
        }
        Ok(packed)
    }

    /// The index as a file.
    ///
    /// # Errors
    /// Never in practice: it is plain data.
    pub fn index_bytes(&self) -> Result<Vec<u8>, ExecError> {
        let signed = Signed { crc32: self.index.checksum()?, index: self.index.clone() };
        serde_json::to_vec_pretty(&signed).map_err(unusable)
    }

    /// Bytes of all files as they are kept.
    pub fn bytes(&self) -> Bytes {
        self.index.files.iter().map(|file| Bytes(file.bytes)).sum()
    }

    /// Bytes of all safetensors files in them.
    pub fn raw_bytes(&self) -> Bytes {
        self.index.files.iter().map(|file| Bytes(file.raw_bytes)).sum()
    }
}

/// What it took to keep a checkpoint, measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Stored {
    /// Steps that were trained.
    pub steps: u32,
    /// How it was written.
    pub form: CheckpointForm,
    /// Files.
    pub files: u32,
    /// Bytes before they were compressed.
    pub raw: Bytes,
    /// Bytes as they are kept.
    pub stored: Bytes,
    /// From the device to the host's memory.
    pub reading: Nanos,
    /// Into files: serialized, compressed, summed.
    pub packing: Nanos,
    /// Onto the storage, until all of it is there.
    pub writing: Nanos,
}

impl Stored {
    /// All of it: what the steps wait.
    pub fn total(&self) -> Nanos {
        self.reading + self.packing + self.writing
    }
}

/// The tensors of every file, by its name.
fn shards<'a>(tensors: impl Iterator<Item = &'a Saved>, sharded: bool) -> BTreeMap<String, Vec<&'a Saved>> {
    let mut shards: BTreeMap<String, Vec<&Saved>> = BTreeMap::new();
    for saved in tensors {
        let rank: u32 = saved.name.split('/').next().and_then(|rank| rank.parse().ok()).unwrap_or(0);
        let name = if sharded { format!("rank-{rank:05}.safetensors") } else { "model.safetensors".to_owned() };
        shards.entry(name).or_default().push(saved);
    }
    shards
}

/// A tensor's name without its rank.
fn of_any_rank(name: &str) -> &str {
    name.split_once('/').map_or(name, |(_, name)| name)
}

/// Replicas: tensors that are equal to the bit and bear the same name on another rank, each with that of the first.
fn held_alike(tensors: &[Saved]) -> BTreeMap<String, String> {
    let mut known: BTreeMap<&str, Vec<&Saved>> = BTreeMap::new();
    let mut same = BTreeMap::new();
    for saved in tensors {
        let others = known.entry(of_any_rank(&saved.name)).or_default();
        let alike =
            |other: &&&Saved| (other.format, other.shape) == (saved.format, saved.shape) && other.words == saved.words;
        match others.iter().find(alike) {
            Some(first) => drop(same.insert(saved.name.clone(), first.name.clone())),
            None => others.push(saved),
        }
    }
    same
}

impl Index {
    /// Reads an index.
    ///
    /// # Errors
    /// When it is none, or of a later version.
    pub fn of_bytes(bytes: &[u8]) -> Result<Self, ExecError> {
        let Signed { index, crc32 } =
            serde_json::from_slice(bytes).map_err(|error| unusable(format!("`{INDEX}`: {error}")))?;
        let found = index.checksum()?;
        if found != crc32 {
            return Err(unusable(format!("`{INDEX}` was changed: its CRC-32 is {found:08x}, not {crc32:08x}")));
        }
        if index.version != VERSION {
            let found = index.version;
            return Err(unusable(format!("`{INDEX}` is of version {found}, this program reads version {VERSION}")));
        }
        Ok(index)
    }

    fn checksum(&self) -> Result<u32, ExecError> {
        Ok(crc32fast::hash(&serde_json::to_vec(self).map_err(unusable)?))
    }

    /// Puts the files together that `read` brings, told the name and how many bytes there are, after holding each against
    /// its checksum. All of them together have at most `limit` bytes.
    ///
    /// # Errors
    /// When a file is missing, cut off, changed, too large, or does not belong to the others.
    pub fn unpack(
        &self,
        limit: Bytes,
        mut read: impl FnMut(&str, u64) -> Result<Vec<u8>, ExecError>,
    ) -> Result<Checkpoint, ExecError> {
        let (mut whole, mut names): (Option<Checkpoint>, _) = (None, BTreeSet::new());
        let all = self.files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.raw_bytes.max(file.bytes)));
        if all > limit.0 {
            return Err(unusable(format!("it has {}, the run keeps no more than {limit}", Bytes(all))));
        }
        for entry in &self.files {
            if !names.insert(&entry.name) {
                return Err(unusable(format!("`{INDEX}` names `{}` twice", entry.name)));
            }
            let part = Checkpoint::of_bytes(&entry.checked(read(&entry.name, entry.bytes)?)?)?;
            match &mut whole {
                None => whole = Some(part),
                Some(whole) if whole.progress == part.progress => whole.tensors.extend(part.tensors),
                Some(_) => return Err(unusable(format!("`{}` is of another step than the others", entry.name))),
            }
        }
        let mut whole = whole.ok_or_else(|| unusable(format!("`{INDEX}` names no files")))?;
        if whole.progress.steps != self.steps {
            let (found, said) = (whole.progress.steps, self.steps);
            return Err(unusable(format!("its files are of step {found}, `{INDEX}` says {said}")));
        }
        self.fill_in(&mut whole)?;
        whole.tensors.sort_by(|a, b| a.name.cmp(&b.name));
        match whole.tensors.windows(2).find(|pair| pair[0].name == pair[1].name) {
            Some(pair) => Err(unusable(format!("`{}` is in it twice", pair[0].name))),
            None => Ok(whole),
        }
    }

    /// What other ranks hold alike.
    fn fill_in(&self, whole: &mut Checkpoint) -> Result<(), ExecError> {
        let places: BTreeMap<&str, usize> =
            whole.tensors.iter().enumerate().map(|(place, saved)| (saved.name.as_str(), place)).collect();
        let mut copies = Vec::with_capacity(self.same.len());
        for (name, first) in &self.same {
            if of_any_rank(name) != of_any_rank(first) {
                return Err(unusable(format!("`{name}` and `{first}` are not the same tensor of two ranks")));
            }
            let place =
                places.get(first.as_str()).ok_or_else(|| unusable(format!("`{first}` is in none of its files")))?;
            copies.push(Saved { name: name.clone(), ..whole.tensors[*place].clone() });
        }
        whole.tensors.extend(copies);
        Ok(())
    }
}

impl FileEntry {
    /// The safetensors file in the bytes of a file, if they are those that were written.
    fn checked(&self, bytes: Vec<u8>) -> Result<Vec<u8>, ExecError> {
        let name = &self.name;
        if bytes.len() as u64 != self.bytes {
            return Err(unusable(format!("`{name}` has {} B, {} B were written", bytes.len(), self.bytes)));
        }
        let found = crc32fast::hash(&bytes);
        if found != self.crc32 {
            return Err(unusable(format!("`{name}` was changed: its CRC-32 is {found:08x}, not {:08x}", self.crc32)));
        }
        if !name.ends_with(".zst") {
            return Ok(bytes);
        }
        let broken = |error: String| unusable(format!("`{name}` cannot be decompressed: {error}"));
        let decoder = StreamingDecoder::new(bytes.as_slice()).map_err(|error| broken(error.to_string()))?;
        let mut raw = Vec::new();
        // A byte more than there should be is noticed, and no more is read.
        decoder
            .take(self.raw_bytes.saturating_add(1))
            .read_to_end(&mut raw)
            .map_err(|error| broken(error.to_string()))?;
        if raw.len() as u64 == self.raw_bytes { Ok(raw) } else { Err(broken(format!("{} B are in it", raw.len()))) }
    }
}
