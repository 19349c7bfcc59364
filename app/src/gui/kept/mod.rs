//! The last run that was trained, kept from visit to visit: natively beside the app's settings, in a browser in the origin's
//! private file system. It is one file, so that what a run is of and what it goes on from always belong together: the length
//! of a JSON document as eight bytes, the document, and a safetensors file.

#[cfg(not(target_arch = "wasm32"))]
mod native;
#[cfg(target_arch = "wasm32")]
mod web;

#[cfg(not(target_arch = "wasm32"))]
use native as place;
#[cfg(target_arch = "wasm32")]
use web as place;

pub use place::{read, remove, write};
use serde::{Deserialize, Serialize};
use shardlab_engine::scenario::ScenarioFile;

/// The file.
const FILE: &str = "last-run.shardlab";

/// A run that can go on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeptRun {
    /// The scenario's name.
    pub name: String,
    /// Steps that were trained when it was last kept.
    pub steps: u32,
    /// How large that is.
    pub bytes: u64,
    /// The scenario as it was written.
    pub file: ScenarioFile,
}

/// Keeps what a run goes on from, in the place of what was kept before.
///
/// # Errors
/// Why it could not be written; then what was kept before still is.
pub async fn put(run: &KeptRun, checkpoint: &[u8]) -> Result<(), String> {
    let about = serde_json::to_vec(run).map_err(|error| error.to_string())?;
    let content = [&(about.len() as u64).to_le_bytes()[..], &about, checkpoint].concat();
    write(FILE, &content).await
}

/// The run that is kept with what it goes on from, if there is one.
///
/// # Errors
/// Why it cannot be read.
pub async fn get() -> Result<Option<(KeptRun, Vec<u8>)>, String> {
    let Some(content) = read(FILE).await? else { return Ok(None) };
    let other = || format!("`{FILE}` was written by another version of this program");
    let (length, rest) = content.split_first_chunk::<8>().ok_or_else(other)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| other())?;
    let (about, checkpoint) = rest.split_at_checked(length).ok_or_else(other)?;
    let run = serde_json::from_slice(about).map_err(|_| other())?;
    Ok(Some((run, checkpoint.to_vec())))
}

/// Forgets the run.
pub async fn forget() {
    remove(FILE).await;
}
