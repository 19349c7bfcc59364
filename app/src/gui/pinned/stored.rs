//! Pinned runs that cannot be simulated again, kept from visit to visit: each in a file that is called as its content, so that
//! nothing overwrites another run, and several windows may keep theirs side by side.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use shardlab_engine::report::StoredRun;
use shardlab_engine::scenario::check;

use super::{Pinned, Run, Shown, Source};
use crate::gui::i18n::{t, t_with};
use crate::gui::job::{breathe, spawn};
use crate::gui::kept;

/// Slices of a run that is kept, at most: a page packs them between two frames.
const MOST_SLICES: usize = if cfg!(target_arch = "wasm32") { 200_000 } else { 5_000_000 };

/// Bytes of a run that is kept, at most.
const MOST_BYTES: usize = if cfg!(target_arch = "wasm32") { 64 << 20 } else { 1 << 30 };

/// Files that are kept beside those of the runs that are pinned.
const MOST_FILES: usize = 24;

/// A run in a file, as the work that is open names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredPin {
    /// What it is called.
    pub name: String,
    /// What the file holds, by which it is called.
    pub hash: u64,
}

/// What the file of a run holds, once it is written.
#[derive(Clone, Debug, Default)]
pub struct Place(Arc<OnceLock<u64>>);

fn file_name(hash: u64) -> String {
    format!("pinned-{hash:016x}.json.gz")
}

/// FNV-1a of 64 bits (Fowler, Noll, Vo): the same with every compiler, since files are called by it.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Removes the oldest files of those that were written, but for those of runs that are pinned.
pub fn forget_oldest(written: &mut Vec<u64>, pinned: &[u64]) {
    while written.len() > MOST_FILES {
        let Some(place) = written.iter().position(|hash| !pinned.contains(hash)) else { return };
        let hash = written.remove(place);
        spawn("forget", async move { kept::remove(&file_name(hash)).await });
    }
}

impl Pinned {
    /// Whether it is kept, or will be.
    pub fn has_place(&self) -> bool {
        self.place.is_some()
    }

    /// As the work that is open names it, once it is written.
    pub fn stored(&self) -> Option<StoredPin> {
        let place = self.place.as_ref()?;
        Some(StoredPin { name: self.name.clone(), hash: *place.0.get()? })
    }

    /// Keeps a run that was executed or imported in a file, in the background; `told` gets why it was not.
    pub fn keep(&mut self, told: flume::Sender<String>) {
        if self.modelled_file().is_some() {
            return;
        }
        if self.trace().spans.len() > MOST_SLICES {
            told.send(t_with("compare.not_kept", &self.name)).ok();
            return;
        }
        let place = Place::default();
        let (source, written, name) = (self.source.clone(), Arc::clone(&place.0), self.name.clone());
        self.place = Some(place);
        spawn("keep", async move {
            breathe().await;
            let bytes = source.stored().to_bytes();
            if bytes.len() > MOST_BYTES {
                told.send(t_with("compare.not_kept", name)).ok();
                return;
            }
            let hash = hash(&bytes);
            match kept::write(&file_name(hash), &bytes).await {
                Ok(()) => drop(written.set(hash)),
                Err(error) => drop(told.send(format!("{}: {error}", t_with("compare.not_written", name)))),
            }
        });
    }

    /// Reads a run of an earlier visit.
    pub async fn read(stored: StoredPin) -> Result<Self, String> {
        let failed = |why: &str| format!("{}: {why}", t_with("compare.not_read", &stored.name));
        let bytes = kept::read(&file_name(stored.hash)).await.map_err(|error| failed(&error))?;
        let bytes = bytes.filter(|bytes| hash(bytes) == stored.hash).ok_or_else(|| failed(t("compare.overwritten")))?;
        breathe().await;
        let run = StoredRun::from_bytes(&bytes).map_err(|error| failed(&error.to_string()))?;
        breathe().await;
        let pinned = match run {
            StoredRun::Executed { scenario, trace } => {
                let checked = check(&scenario).map_err(|error| failed(&error.to_string()))?;
                Self::of_run(Arc::new(Run::of_trace(*scenario, checked, trace)))
            }
            StoredRun::Imported(imported) => Self::of_trace(Arc::new(Shown::new(stored.name.clone(), imported))),
        };
        let place = Place(Arc::new(OnceLock::from(stored.hash)));
        Ok(Self { name: stored.name, place: Some(place), ..pinned })
    }
}

impl Source {
    fn stored(&self) -> StoredRun {
        match self {
            Self::Run(run) => StoredRun::Executed { scenario: Box::new(run.file.clone()), trace: run.trace.clone() },
            Self::Trace(shown) => StoredRun::Imported(shown.imported().clone()),
        }
    }
}
