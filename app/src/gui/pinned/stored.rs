//! Pinned runs that cannot be simulated again, kept from visit to visit: each in one of a few files, which the next run in
//! its place overwrites.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
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

/// A run in a file, as the work that is open names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredPin {
    /// What it is called.
    pub name: String,
    /// The number of its file.
    pub slot: usize,
    /// What the file holds: another run may have taken its place.
    hash: u64,
}

/// The file that a run has, and what it holds once it is written.
#[derive(Clone, Debug)]
pub struct Place {
    slot: usize,
    hash: Arc<OnceLock<u64>>,
}

impl Place {
    /// The number of its file.
    pub fn slot(&self) -> usize {
        self.slot
    }
}

fn file_name(slot: usize) -> String {
    format!("pinned-{slot}.json.gz")
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

impl Pinned {
    /// Where it is kept, or will be.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// As the work that is open names it, once it is written.
    pub fn stored(&self) -> Option<StoredPin> {
        let place = self.place.as_ref()?;
        Some(StoredPin { name: self.name.clone(), slot: place.slot, hash: *place.hash.get()? })
    }

    /// Keeps a run that was executed or imported in a file, in the background; `told` gets why it was not.
    pub fn keep(&mut self, slot: usize, told: flume::Sender<String>) {
        if self.modelled_file().is_some() {
            return;
        }
        if self.trace().spans.len() > MOST_SLICES {
            told.send(t_with("compare.not_kept", &self.name)).ok();
            return;
        }
        let place = Place { slot, hash: Arc::default() };
        let (source, written, name) = (self.source.clone(), Arc::clone(&place.hash), self.name.clone());
        self.place = Some(place);
        spawn("keep", async move {
            breathe().await;
            let bytes = source.stored().to_bytes();
            match kept::write(&file_name(slot), &bytes).await {
                Ok(()) => drop(written.set(hash(&bytes))),
                Err(error) => drop(told.send(format!("{}: {error}", t_with("compare.not_kept", name)))),
            }
        });
    }

    /// Reads a run of an earlier visit.
    pub async fn read(stored: StoredPin) -> Result<Self, String> {
        let failed = |why: &str| format!("{}: {why}", t_with("compare.not_read", &stored.name));
        let bytes = kept::read(&file_name(stored.slot)).await.map_err(|error| failed(&error))?;
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
        let place = Place { slot: stored.slot, hash: Arc::new(OnceLock::from(stored.hash)) };
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
