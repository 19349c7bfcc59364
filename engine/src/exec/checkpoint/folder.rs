//! Checkpoints of a run in a folder.
//!
//! A checkpoint is a folder of its own, `step-00000010`. It is written under another name, every file is synced, then it
//! is renamed: so whatever happens, each folder of that name is whole. The last few are kept, so that one that was damaged
//! afterwards costs some steps and not the run.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::file::Checkpoint;
use super::set::{INDEX, Index, Packed};
use crate::exec::ExecError;

/// What a folder is called while it is written.
const PARTIAL: &str = ".partial-";
/// What one is called that gives way to another of the same step.
const OLD: &str = ".old-";
/// How folders of checkpoints begin.
const STEP: &str = "step-";

/// Bytes of a file of a set, at most: what a crafted index could ask for.
const MOST: u64 = 1 << 36;

/// A folder with checkpoints of one run.
#[derive(Clone, Debug)]
pub struct CheckpointFolder {
    path: PathBuf,
    keep: usize,
}

/// The last checkpoint that can be used.
#[derive(Clone, Debug)]
pub struct Found {
    /// What the run goes on from.
    pub checkpoint: Checkpoint,
    /// Later ones that cannot be used, and why.
    pub passed_over: Vec<String>,
}

/// Something that could not be done with a file.
fn failed(what: &str, path: &Path, error: &io::Error) -> ExecError {
    ExecError::Storage { what: format!("{what} `{}`", path.display()), why: error.to_string() }
}

impl CheckpointFolder {
    /// A folder, made if it is not there; what an interrupted run has left half written is removed. The last `keep`
    /// checkpoints stay.
    ///
    /// # Errors
    /// When it cannot be made or read.
    pub fn open(path: &Path, keep: usize) -> Result<Self, ExecError> {
        fs::create_dir_all(path).map_err(|error| failed("cannot make", path, &error))?;
        let folder = Self { path: path.to_owned(), keep: keep.max(1) };
        for name in folder.names()?.into_iter().filter(|name| name.starts_with(PARTIAL) || name.starts_with(OLD)) {
            fs::remove_dir_all(path.join(name)).ok();
        }
        Ok(folder)
    }

    fn names(&self) -> Result<Vec<String>, ExecError> {
        let entries = fs::read_dir(&self.path).map_err(|error| failed("cannot read", &self.path, &error))?;
        Ok(entries.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
    }

    /// Steps of the checkpoints that are there, the first first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn steps(&self) -> Result<Vec<u32>, ExecError> {
        let names = self.names()?;
        let mut steps: Vec<u32> = names.iter().filter_map(|name| name.strip_prefix(STEP)?.parse().ok()).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    fn path_of(&self, step: u32) -> PathBuf {
        self.path.join(format!("{STEP}{step:08}"))
    }

    /// Keeps a checkpoint, and forgets those that are too old.
    ///
    /// # Errors
    /// When it cannot be written; then those that were there still are.
    pub fn save(&self, packed: &Packed) -> Result<(), ExecError> {
        let step = packed.index.steps;
        let partial = self.path.join(format!("{PARTIAL}{step:08}"));
        let written = self.write(packed, &partial);
        if written.is_err() {
            fs::remove_dir_all(&partial).ok();
        }
        written?;
        let steps = self.steps()?;
        for &old in steps.iter().filter(|&&old| old <= step).rev().skip(self.keep) {
            fs::remove_dir_all(self.path_of(old)).ok();
        }
        Ok(())
    }

    fn write(&self, packed: &Packed, partial: &Path) -> Result<(), ExecError> {
        fs::remove_dir_all(partial).ok();
        fs::create_dir(partial).map_err(|error| failed("cannot make", partial, &error))?;
        for (entry, bytes) in packed.index.files.iter().zip(&packed.files) {
            let file = partial.join(&entry.name);
            write_synced(&file, bytes).map_err(|error| failed("cannot write", &file, &error))?;
        }
        let index = partial.join(INDEX);
        write_synced(&index, &packed.index_bytes()?).map_err(|error| failed("cannot write", &index, &error))?;
        sync_folder(partial).map_err(|error| failed("cannot sync", partial, &error))?;
        let path = self.path_of(packed.index.steps);
        if path.exists() {
            let old = self.path.join(format!("{OLD}{:08}", packed.index.steps));
            fs::rename(&path, &old).map_err(|error| failed("cannot replace", &path, &error))?;
            fs::rename(partial, &path).map_err(|error| failed("cannot rename", partial, &error))?;
            fs::remove_dir_all(&old).ok();
        } else {
            fs::rename(partial, &path).map_err(|error| failed("cannot rename", partial, &error))?;
        }
        sync_folder(&self.path).map_err(|error| failed("cannot sync", &self.path, &error))
    }

    /// The last checkpoint that is whole; those after it that are not are passed over.
    ///
    /// # Errors
    /// When the folder cannot be read, or there are checkpoints and none can be used.
    pub fn latest(&self) -> Result<Option<Found>, ExecError> {
        let mut passed_over = Vec::new();
        for step in self.steps()?.into_iter().rev() {
            match self.load(step) {
                Ok(checkpoint) => return Ok(Some(Found { checkpoint, passed_over })),
                Err(error) => passed_over.push(format!("step {step}: {error}")),
            }
        }
        match passed_over.into_iter().next() {
            Some(first) => Err(super::unusable(first)),
            None => Ok(None),
        }
    }

    fn load(&self, step: u32) -> Result<Checkpoint, ExecError> {
        let folder = self.path_of(step);
        let index = Index::of_bytes(&read(&folder.join(INDEX))?)?;
        index.unpack(|name| {
            // A name that leads elsewhere was not written here.
            if Path::new(name).components().count() != 1 || name.contains(['/', '\\']) || name.starts_with("..") {
                return Err(super::unusable(format!("`{name}` is no file beside the index")));
            }
            read(&folder.join(name))
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ExecError> {
    let bytes = fs::metadata(path).map_err(|error| failed("cannot open", path, &error))?.len();
    if bytes > MOST {
        return Err(super::unusable(format!("`{}` has {bytes} B", path.display())));
    }
    fs::read(path).map_err(|error| failed("cannot read", path, &error))
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes what was created and renamed in a folder last; not every system can.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

/// Writes a file aside and puts it in its place when it is whole, so that there is always one.
///
/// # Errors
/// When it cannot be written; then what was there still is.
pub fn write_aside(path: &Path, bytes: &[u8]) -> Result<(), ExecError> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".part");
    let aside = PathBuf::from(aside);
    let written = write_synced(&aside, bytes).and_then(|()| fs::rename(&aside, path));
    if written.is_err() {
        fs::remove_file(&aside).ok();
    }
    written.map_err(|error| failed("cannot write", path, &error))
}
