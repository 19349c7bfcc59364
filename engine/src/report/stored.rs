//! Runs that cannot be computed again, as they are kept from visit to visit: what was executed here, what other tools have
//! measured. A gzipped JSON document of this program alone; what goes out to others is Perfetto's format.

use serde::{Deserialize, Serialize};

use crate::scenario::ScenarioFile;
use crate::trace::{Imported, Trace};
use crate::units::Bytes;
use crate::unpack::{UnpackError, gzip, unpacked};

/// The version of the document.
const VERSION: u32 = 1;

/// Bytes of a document, at most.
const MAX_BYTES: Bytes = Bytes(1 << 30);

/// A run that is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredRun {
    /// A step that was executed, and of what.
    Executed {
        /// The scenario as it was written.
        scenario: Box<ScenarioFile>,
        /// What ran when.
        trace: Trace,
    },
    /// What another tool has measured.
    Imported(Imported),
}

/// Why a run that was kept cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// It is no file of this kind, or was damaged.
    #[error(transparent)]
    Packed(#[from] UnpackError),
    /// It is not what was written.
    #[error("the kept run cannot be read ({0}): it is damaged, or another version of this program wrote it")]
    Unknown(String),
}

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    run: &'a StoredRun,
}

#[derive(Deserialize)]
struct Read {
    version: u32,
    run: StoredRun,
}

impl StoredRun {
    /// As a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Its maps have keys of text and it is no stream, so nothing can fail.
        let document = serde_json::to_vec(&Written { version: VERSION, run: self }).unwrap_or_default();
        gzip(&document)
    }

    /// Reads such a file.
    ///
    /// # Errors
    /// When it is damaged, of another version, or its parts refer to what is not there.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StoredError> {
        let unknown = |what: String| StoredError::Unknown(what);
        let document = unpacked(bytes, MAX_BYTES)?;
        let Read { version, run } = serde_json::from_slice(&document).map_err(|error| unknown(error.to_string()))?;
        if version != VERSION {
            return Err(unknown(format!("version {version}, expected {VERSION}")));
        }
        if !run.is_whole() {
            return Err(unknown("a part refers to what is not there".to_owned()));
        }
        Ok(run)
    }

    /// Its trace.
    pub fn trace(&self) -> &Trace {
        match self {
            Self::Executed { trace, .. } => trace,
            Self::Imported(imported) => &imported.trace,
        }
    }

    fn is_whole(&self) -> bool {
        let trace = self.trace();
        let spans = trace.spans.len() as u64;
        trace.refers_to_itself()
            && trace.verify().is_ok()
            && match self {
                Self::Executed { .. } => true,
                Self::Imported(imported) => {
                    let ends = imported.launches.iter().flat_map(|launch| [launch.call, launch.work]);
                    imported.activities.len() == trace.labels.len()
                        && trace.tracks.iter().all(|track| (track.group as usize) < imported.groups.len())
                        && ends.map(u64::from).all(|end| end < spans)
                }
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::lower;
    use crate::report::{import_trace, perfetto_json};
    use crate::scenario::{check, preset_file};
    use crate::sim::simulate;
    use crate::trace::CLASSES;

    fn simulated() -> (ScenarioFile, Trace) {
        let file = preset_file("llama2-7b-8xh100").expect("a preset");
        let scenario = check(&file).expect("valid");
        (file, simulate(&lower(&scenario), &scenario))
    }

    #[test]
    fn what_was_kept_is_read_back_as_it_was() {
        let (file, trace) = simulated();
        let imported = import_trace("ours.json", perfetto_json(&trace).as_bytes()).expect("a trace of ours");
        for run in [StoredRun::Executed { scenario: Box::new(file), trace }, StoredRun::Imported(imported)] {
            assert_eq!(StoredRun::from_bytes(&run.to_bytes()).expect("whole"), run);
        }
    }

    #[test]
    fn every_class_of_every_preset_has_its_place_in_the_list() {
        for preset in crate::scenario::presets() {
            let scenario = check(&preset_file(preset.name).expect("a preset")).expect("valid");
            let step = lower(&scenario);
            let ops = step.stages.iter().flat_map(|stage| stage.segments.iter()).flat_map(|segment| segment.ops());
            for op in ops {
                assert!(CLASSES.contains(&op.kind.class()), "{}", op.kind.class());
            }
        }
    }

    #[test]
    fn damaged_files_and_wild_references_are_refused() {
        let (file, mut trace) = simulated();
        trace.spans[0].label.0 = u32::MAX;
        let wild = StoredRun::Executed { scenario: Box::new(file), trace };
        assert!(matches!(StoredRun::from_bytes(&wild.to_bytes()), Err(StoredError::Unknown(_))));
        let bytes = wild.to_bytes();
        assert!(matches!(StoredRun::from_bytes(&bytes[..bytes.len() / 2]), Err(StoredError::Packed(_))));
        assert!(matches!(StoredRun::from_bytes(b"{}"), Err(StoredError::Unknown(_))));
        let other = gzip(br#"{"version":2,"run":{"imported":null}}"#);
        assert!(matches!(StoredRun::from_bytes(&other), Err(StoredError::Unknown(_))));
    }
}
