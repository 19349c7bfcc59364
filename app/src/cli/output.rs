//! Results to standard output, the rest to standard error.
#![allow(clippy::print_stderr, reason = "this is the command line's way to speak")]

use std::fs;
use std::io::{IsTerminal as _, Write as _, stderr, stdout};
use std::path::Path;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use shardlab_engine::analysis::StepReport;
use shardlab_engine::report;
use shardlab_engine::trace::Trace;
use shardlab_engine::unpack::gzip;

use super::args::ExportOptions;

/// Writes a result.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Says what went wrong, cause after cause.
pub fn error(error: &anyhow::Error) {
    eprintln!("shardlab: {error:#}");
}

/// Says something that is not the result.
pub fn note(text: &str) {
    eprintln!("{text}");
}

/// Writes the files that were asked for; `report` gives the figures of the step where they are needed.
pub fn export(options: &ExportOptions, trace: &Trace, report: &dyn Fn() -> StepReport) -> anyhow::Result<()> {
    let paths = [&options.perfetto, &options.csv, &options.memory_csv];
    let on_stdout = paths.iter().filter(|path| path.as_deref() == Some(Path::new("-"))).count();
    anyhow::ensure!(
        on_stdout + usize::from(options.json) <= 1,
        "only one of --json, --perfetto -, --csv - and --memory-csv - can go to standard output; give the others a file"
    );
    let files = [
        (&options.perfetto, report::perfetto_json as fn(&Trace) -> String),
        (&options.csv, report::op_table_csv),
        (&options.memory_csv, report::memory_csv),
    ];
    for (path, write) in files {
        if let Some(path) = path {
            write_file(path, &write(trace))?;
        }
    }
    let Some(folder) = &options.pictures else { return Ok(()) };
    fs::create_dir_all(folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    report::svg::pictures(trace, &report()).iter().try_for_each(|(name, text)| write_file(&folder.join(name), text))
}

/// Writes a text to a file, compressed where its name ends in `.gz`, or to standard output for `-`.
pub fn write_file(path: &Path, text: &str) -> anyhow::Result<()> {
    if path == Path::new("-") {
        return print(text);
    }
    let is_packed = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gz"));
    let bytes = if is_packed { gzip(text.as_bytes()) } else { text.as_bytes().to_vec() };
    fs::write(path, bytes).with_context(|| format!("cannot write `{}`", path.display()))?;
    note(&format!("wrote {}", path.display()));
    Ok(())
}

/// A progress bar on standard error, where somebody sees it.
pub fn progress(steps: u64) -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(steps);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len}  {elapsed} (about {eta} left)  {msg}") {
        bar.set_style(style);
    }
    bar
}

/// Shows shares of a bar of 100; the work always goes on.
pub fn percentage(bar: &ProgressBar) -> impl FnMut(f32) -> bool {
    |done| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a percentage")]
        bar.set_position((done * 100.0) as u64);
        true
    }
}
