//! Checkpoints of a run in a folder.
//!
//! A checkpoint is a folder of its own, `step-00000010`. It is written under another name, every file is synced, then it
//! is renamed: so whatever happens, each folder of that name is whole, but for what is damaged afterwards. The last few are
//! kept, so that damage costs some steps and not the run. Only what was written here is ever removed: names are matched to
//! the letter, and a folder without an index of this program is not touched.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::file::Checkpoint;
use super::set::{INDEX, Index, Packed};
use super::unusable;
use crate::exec::ExecError;
use crate::units::Bytes;

/// What a folder is called while it is written.
const PARTIAL: &str = ".partial-";
/// What one is called that gives way to another of the same step.
const OLD: &str = ".old-";
/// What one is called that cannot be used.
const DAMAGED: &str = "damaged-";
/// How folders of checkpoints begin.
const STEP: &str = "step-";
/// Who writes holds a lock on this file.
const LOCK: &str = ".lock";
/// Bytes of an index, at most.
const MOST_OF_INDEX: u64 = 1 << 26;

/// A folder with checkpoints of one run.
#[derive(Debug)]
pub struct CheckpointFolder {
    path: PathBuf,
    keep: usize,
    /// Held by who writes.
    _lock: Option<File>,
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
fn failed(what: &str, path: &Path, why: impl std::fmt::Display) -> ExecError {
    ExecError::Storage { what: format!("{what} `{}`", path.display()), why: why.to_string() }
}

/// The same where something was to be written.
fn unwritten(what: &str, path: &Path, why: impl std::fmt::Display) -> ExecError {
    failed(what, path, format!("{why}; make room or choose another place, what was there is untouched"))
}

/// The step of a folder that is called by `prefix` and a step of eight digits or more, exactly as it is written.
fn step_of(name: &str, prefix: &str) -> Option<u32> {
    let step: u32 = name.strip_prefix(prefix)?.parse().ok()?;
    (name == named(prefix, step)).then_some(step)
}

fn named(prefix: &str, step: u32) -> String {
    format!("{prefix}{step:08}")
}

impl CheckpointFolder {
    /// A folder to be read: nothing in it is changed.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), keep: usize::MAX, _lock: None }
    }

    /// A folder to be written by one run, made if it is not there. What an interrupted run has left is put right. The last
    /// `keep` checkpoints stay.
    ///
    /// # Errors
    /// When it cannot be made or read, or another run writes there.
    pub fn open(path: &Path, keep: usize) -> Result<Self, ExecError> {
        fs::create_dir_all(path).map_err(|error| unwritten("cannot make", path, error))?;
        let lock = lock(path)?;
        let folder = Self { path: path.to_owned(), keep: keep.max(1), _lock: Some(lock) };
        folder.put_right()?;
        Ok(folder)
    }

    /// A checkpoint whose place was not taken yet by the one that replaces it comes back; what is half written goes.
    fn put_right(&self) -> Result<(), ExecError> {
        for name in self.names()? {
            let path = self.path.join(&name);
            if let Some(step) = step_of(&name, OLD) {
                let place = self.path_of(step);
                if place.exists() {
                    fs::remove_dir_all(&path).ok();
                } else {
                    fs::rename(&path, &place).map_err(|error| unwritten("cannot rename", &path, error))?;
                }
            } else if step_of(&name, PARTIAL).is_some() {
                fs::remove_dir_all(&path).ok();
            }
        }
        Ok(())
    }

    fn names(&self) -> Result<Vec<String>, ExecError> {
        let entries = fs::read_dir(&self.path).map_err(|error| failed("cannot read", &self.path, error))?;
        Ok(entries.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
    }

    /// Steps of the checkpoints that are there, the first first; of what an interrupted run was replacing, too.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn steps(&self) -> Result<Vec<u32>, ExecError> {
        let names = self.names()?;
        let of = |name: &String| step_of(name, STEP).or_else(|| step_of(name, OLD));
        let mut steps: Vec<u32> = names.iter().filter_map(of).collect();
        steps.sort_unstable();
        steps.dedup();
        Ok(steps)
    }

    fn path_of(&self, step: u32) -> PathBuf {
        self.path.join(named(STEP, step))
    }

    /// Where a step's checkpoint lies: in its place, or in that of one which is being replaced.
    fn place_of(&self, step: u32) -> PathBuf {
        let place = self.path_of(step);
        if place.exists() { place } else { self.path.join(named(OLD, step)) }
    }

    /// Gets ready for a run that begins behind step `trained`. Later checkpoints that cannot be used are set aside, so that
    /// they do not count as kept.
    ///
    /// # Errors
    /// When there are later ones that can: they are of another run, which would be mixed with this one.
    pub fn begin(&self, trained: u32, limit: Bytes) -> Result<(), ExecError> {
        for step in self.steps()?.into_iter().filter(|&step| step > trained) {
            if self.load(step, limit).is_ok() {
                let why = format!(
                    "it has a checkpoint of step {step}, and this run begins behind step {trained}; go on with it by --resume, or \
choose another folder"
                );
                return Err(failed("cannot write into", &self.path, why));
            }
            let (from, to) = (self.path_of(step), self.path.join(named(DAMAGED, step)));
            fs::remove_dir_all(&to).ok();
            fs::rename(&from, &to).map_err(|error| unwritten("cannot rename", &from, error))?;
        }
        Ok(())
    }

    /// Keeps a checkpoint, and forgets those that are too old.
    ///
    /// # Errors
    /// When it cannot be written; then those that were there still are.
    pub fn save(&self, packed: &Packed) -> Result<(), ExecError> {
        let step = packed.index.steps;
        let partial = self.path.join(named(PARTIAL, step));
        let written = self.write(packed, &partial);
        if written.is_err() {
            fs::remove_dir_all(&partial).ok();
        }
        written?;
        let earlier = self.steps()?.into_iter().filter(|&old| old <= step);
        let own = earlier.filter(|&old| self.index(old).is_ok());
        for old in own.rev().skip(self.keep) {
            fs::remove_dir_all(self.path_of(old)).ok();
        }
        Ok(())
    }

    fn write(&self, packed: &Packed, partial: &Path) -> Result<(), ExecError> {
        fs::remove_dir_all(partial).ok();
        fs::create_dir(partial).map_err(|error| unwritten("cannot make", partial, error))?;
        for (entry, bytes) in packed.index.files.iter().zip(&packed.files) {
            let file = partial.join(&entry.name);
            write_synced(&file, bytes).map_err(|error| unwritten("cannot write", &file, error))?;
        }
        let index = partial.join(INDEX);
        write_synced(&index, &packed.index_bytes()?).map_err(|error| unwritten("cannot write", &index, error))?;
        sync_folder(partial).map_err(|error| unwritten("cannot sync", partial, error))?;
        self.place(partial, packed.index.steps)?;
        sync_folder(&self.path).map_err(|error| unwritten("cannot sync", &self.path, error))
    }

    /// Puts a whole checkpoint in its place; what is there comes back if that fails.
    fn place(&self, partial: &Path, step: u32) -> Result<(), ExecError> {
        let (path, old) = (self.path_of(step), self.path.join(named(OLD, step)));
        let replaces = path.exists();
        if replaces {
            fs::rename(&path, &old).map_err(|error| unwritten("cannot replace", &path, error))?;
        }
        if let Err(error) = fs::rename(partial, &path) {
            if replaces {
                fs::rename(&old, &path).ok();
            }
            return Err(unwritten("cannot rename", partial, error));
        }
        if replaces {
            sync_folder(&self.path).map_err(|error| unwritten("cannot sync", &self.path, error))?;
            fs::remove_dir_all(&old).ok();
        }
        Ok(())
    }

    /// The last checkpoint that is whole; those after it that are not are passed over. None of its files may have more than
    /// `limit` bytes.
    ///
    /// # Errors
    /// When the folder cannot be read, or there are checkpoints and none can be used.
    pub fn latest(&self, limit: Bytes) -> Result<Option<Found>, ExecError> {
        if self.path.join(INDEX).is_file() {
            // The folder of a single checkpoint.
            let checkpoint = load(&self.path, limit)?;
            return Ok(Some(Found { checkpoint, passed_over: Vec::new() }));
        }
        let mut passed_over = Vec::new();
        for step in self.steps()?.into_iter().rev() {
            match self.load(step, limit) {
                Ok(checkpoint) => return Ok(Some(Found { checkpoint, passed_over })),
                Err(error) => passed_over.push(format!("step {step}: {error}")),
            }
        }
        match passed_over.into_iter().next() {
            Some(first) => Err(unusable(first)),
            None => Ok(None),
        }
    }

    /// The checkpoint of a step.
    ///
    /// # Errors
    /// When it is not there, or not whole.
    pub fn load(&self, step: u32, limit: Bytes) -> Result<Checkpoint, ExecError> {
        load(&self.place_of(step), limit)
    }

    fn index(&self, step: u32) -> Result<Index, ExecError> {
        Index::of_bytes(&read(&self.place_of(step).join(INDEX), MOST_OF_INDEX)?)
    }
}

/// One run at a time writes into a folder; the lock goes with its process.
fn lock(path: &Path) -> Result<File, ExecError> {
    let file = path.join(LOCK);
    let lock = File::create(&file).map_err(|error| unwritten("cannot write", &file, error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(failed("cannot write into", path, "another run writes there")),
        // Some network file systems know no locks.
        Err(TryLockError::Error(_)) => Ok(lock),
    }
}

fn load(folder: &Path, limit: Bytes) -> Result<Checkpoint, ExecError> {
    let index = Index::of_bytes(&read(&folder.join(INDEX), MOST_OF_INDEX)?)?;
    index.unpack(limit, |name, bytes| {
        // A name that leads elsewhere was not written here.
        if Path::new(name).components().count() != 1 || name.contains(['/', '\\', ':']) || name.starts_with("..") {
            return Err(unusable(format!("`{name}` is no file beside the index")));
        }
        read(&folder.join(name), bytes)
    })
}

/// A file of at most so many bytes: no more of it is read than one byte beyond.
fn read(path: &Path, most: u64) -> Result<Vec<u8>, ExecError> {
    let about = fs::metadata(path).map_err(|error| failed("cannot open", path, error))?;
    if !about.is_file() {
        return Err(failed("cannot read", path, "it is no file"));
    }
    let file = File::open(path).map_err(|error| failed("cannot open", path, error))?;
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| failed("cannot read", path, error))?;
    Ok(bytes)
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
    aside.push(format!(".part-{}", std::process::id()));
    let aside = PathBuf::from(aside);
    let written = write_synced(&aside, bytes).and_then(|()| fs::rename(&aside, path));
    if written.is_err() {
        fs::remove_file(&aside).ok();
    }
    written.map_err(|error| unwritten("cannot write", path, error))
}
