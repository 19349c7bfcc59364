//! What was measured of kernels that can be computed in several ways, in a file.

use std::path::Path;

use anyhow::Context as _;
use pollster::block_on;
use shardlab_engine::exec::{Trainer, Tuning};

use super::output::{progress, write_file};

/// The measurements in `file`; none where there is no such file yet.
pub fn read(file: &Path) -> anyhow::Result<Tuning> {
    match std::fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
            format!(
                "`{}` is no file of kernel measurements; name another, or delete it to measure anew",
                file.display()
            )
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Tuning::default()),
        Err(error) => Err(error).with_context(|| format!("cannot open `{}`", file.display())),
    }
}

/// Measures what the file does not know yet, takes the fastest ways, and writes the file.
pub fn tune(trainer: &mut Trainer, file: &Path) -> anyhow::Result<()> {
    let mut tuning = read(file)?;
    let bar = progress(0);
    bar.set_message("measuring kernels");
    let mut told = |done: usize, all: usize| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        true
    };
    let measured = block_on(trainer.tune(&mut tuning, true, &mut told));
    bar.finish_and_clear();
    write(file, &tuning)?;
    Ok(measured?)
}

/// Writes measurements.
pub fn write(file: &Path, tuning: &Tuning) -> anyhow::Result<()> {
    write_file(file, &format!("{}\n", serde_json::to_string_pretty(tuning)?))
}
