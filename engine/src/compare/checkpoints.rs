//! Checkpoints measured beside what the simulator says of them.

use std::fs;
use std::path::Path;

use serde::Serialize;
use web_time::Instant;

use crate::exec::{CheckpointFolder, CheckpointForm, ExecError, Stored, Trainer, write_aside};
use crate::scenario::{Scenario, state_of};
use crate::units::{Bytes, BytesPerSec, Nanos};

/// A form of a checkpoint, saved and loaded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckpointRow {
    /// Its name: `one file`, `sharded`, `zstd` or `bf16`.
    pub name: &'static str,
    /// What saving took, the median.
    pub stored: Stored,
    /// What loading took, with all checks, the median.
    pub loading: Nanos,
    /// Whether what was loaded is what was saved, to the bit.
    pub exact: bool,
    /// What the simulator takes for its size.
    pub modelled_bytes: Bytes,
    /// What it takes for writing that, at the measured rate of the folder.
    pub modelled_writing: Nanos,
}

/// All forms.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckpointReport {
    /// At which rate the folder takes bytes until they are there: measured with a file of its own.
    pub rate: BytesPerSec,
    /// How large that was.
    pub probe: Bytes,
    /// The forms.
    pub rows: Vec<CheckpointRow>,
}

/// Every form that is measured.
const FORMS: [(&str, CheckpointForm); 5] = {
    let plain = CheckpointForm { sharded: false, compressed: false, once: false, reduced: false };
    [
        ("every rank", plain),
        ("one file", CheckpointForm { once: true, ..plain }),
        ("sharded", CheckpointForm { once: true, sharded: true, ..plain }),
        ("zstd", CheckpointForm { once: true, sharded: true, compressed: true, ..plain }),
        ("bf16", CheckpointForm { once: true, sharded: true, reduced: true, ..plain }),
    ]
};

/// Saves and loads a run's checkpoint in every form, so often each; `progress` is told the share and returns whether to go
/// on.
///
/// # Errors
/// When the folder cannot be written, or it was stopped.
pub async fn measure_checkpoints(
    scenario: &Scenario,
    trainer: &mut Trainer,
    folder: &Path,
    times: u32,
    progress: &mut dyn FnMut(f32) -> bool,
) -> Result<CheckpointReport, ExecError> {
    let state = state_of(scenario.model(), scenario.strategy().optimizer);
    // As large as what is written, and large enough to be more than the time that a file takes at least.
    let probe = state.max(Bytes(1 << 24)).min(Bytes(1 << 28));
    let rate = rate_of(folder, probe)?;
    let mut rows = Vec::new();
    for (number, (name, form)) in FORMS.into_iter().enumerate() {
        if !progress(number as f32 / FORMS.len() as f32) {
            return Err(ExecError::Cancelled);
        }
        let place = folder.join(name.replace(' ', "-"));
        let store = CheckpointFolder::open(&place, 1)?;
        let exact = trainer.state(false).await?;
        let (mut saved, mut loads, mut same) = (Vec::new(), Vec::new(), true);
        for _ in 0..times.max(1) {
            saved.push(trainer.store(form, |packed| std::future::ready(store.save(&packed))).await?);
            let begin = Instant::now();
            let found = store.load(exact.progress.steps, trainer.most_kept())?;
            loads.push(Nanos::from(begin.elapsed()));
            same &= found == exact;
        }
        saved.sort_by_key(Stored::total);
        loads.sort_unstable();
        let stored = saved[saved.len() / 2];
        let modelled_bytes = if form.reduced { Bytes(state.0 / 2) } else { state };
        let modelled_writing = modelled_bytes / rate;
        let loading = loads[loads.len() / 2];
        rows.push(CheckpointRow { name, stored, loading, exact: same, modelled_bytes, modelled_writing });
    }
    Ok(CheckpointReport { rate, probe, rows })
}

/// The rate at which a folder takes a file of some bytes until all of it is there: the median of three.
fn rate_of(folder: &Path, bytes: Bytes) -> Result<BytesPerSec, ExecError> {
    let path = folder.join(format!(".rate-{}.bin", std::process::id()));
    // Numbers that no file system can make smaller.
    let mut state = 1_u32;
    let noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let content: Vec<u8> = std::iter::repeat_with(noise).take(usize::try_from(bytes.0).unwrap_or(0)).collect();
    let mut times = Vec::new();
    for _ in 0..3 {
        let begin = Instant::now();
        write_aside(&path, &content)?;
        times.push(Nanos::from(begin.elapsed()));
    }
    fs::remove_file(&path).ok();
    times.sort_unstable();
    Ok(BytesPerSec(bytes.as_f64() / times[1].secs().max(1e-9)))
}
