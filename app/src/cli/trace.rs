//! `shardlab trace`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use shardlab_engine::analysis::hta::{beside, trace_diff, trace_report};
use shardlab_engine::graph::lower;
use shardlab_engine::trace::Imported;
use shardlab_engine::unpack::plain_name;
use shardlab_engine::{report, sim};

use super::args::{LogOptions, TraceOptions};
use super::commands::table;
use super::output::{note, print, write_file};
use super::{Answer, input};

/// Reads what a profiler has written, and says where its time goes.
pub fn trace(options: &TraceOptions) -> anyhow::Result<Answer> {
    let imported = read(&options.files)?;
    let found = trace_report(&imported);
    let diff = match options.baseline.as_slice() {
        [] => None,
        files => Some(trace_diff(&trace_report(&read(files)?), &found)),
    };
    let scenario = options.scenario.as_deref().map(input::scenario).transpose()?;
    let beside =
        scenario.as_ref().map(|scenario| beside(&imported, &found, &sim::simulate(&lower(scenario), scenario)));
    if let Some(path) = &options.perfetto {
        write_file(path, &report::perfetto_json(&imported.trace))?;
    }
    if let Some(path) = &options.svg {
        write_file(path, &report::svg::timeline_svg(&imported.trace, imported.trace.step_time))?;
    }
    if let Some(folder) = &options.csv {
        fs::create_dir_all(folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
        let mut files = vec![
            ("temporal_breakdown.csv", report::temporal_breakdown_csv(&found)),
            ("comm_comp_overlap.csv", report::overlap_csv(&found)),
            ("kernel_breakdown.csv", report::kernel_breakdown_csv(&found)),
            ("collectives.csv", report::imported_collectives_csv(&found)),
        ];
        files.extend(diff.as_deref().map(|rows| ("trace_diff.csv", report::diff_csv(rows))));
        files.iter().try_for_each(|(name, text)| write_file(&folder.join(name), text))?;
    }
    if options.json {
        print(&report::imported_json(&imported, &found, diff.as_deref(), beside.as_ref()))?;
        return Ok(Answer::Yes);
    }
    let mut text = report::imported_table(&called(&options.files), &imported, &found, options.top);
    text.extend(diff.as_deref().map(|rows| report::diff_table(rows, options.top)));
    text.extend(beside.as_ref().zip(scenario.as_ref()).map(|(beside, of)| report::beside_table(of.name(), beside)));
    print(&text)?;
    Ok(Answer::Yes)
}

fn called(files: &[PathBuf]) -> String {
    let first = files.first().map(|file| file.display().to_string()).unwrap_or_default();
    if files.len() > 1 { format!("{first} and {} more", files.len() - 1) } else { first }
}

/// Files, and those in folders, each a rank.
fn read(files: &[PathBuf]) -> anyhow::Result<Imported> {
    let mut parts = Vec::new();
    for file in files {
        for path in traces_at(file)? {
            let name = path.display().to_string();
            let bytes = fs::read(&path).with_context(|| format!("cannot open `{name}`"))?;
            let stem = path.file_name().map_or_else(String::new, |stem| plain_name(&stem.to_string_lossy()).to_owned());
            parts.push(report::import_trace(&stem, &bytes).with_context(|| name)?);
        }
    }
    if parts.len() > 1 {
        note(&format!(
            "shardlab: {} files, each taken for a rank; each begins at zero, clocks are not compared",
            parts.len()
        ));
    }
    Imported::merged(parts)
        .context("there is no trace: give files, or a folder with .json, .json.gz, .sqlite or .et files")
}

fn traces_at(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let mut found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    let is_trace = |name: &str| [".json", ".sqlite", ".et"].iter().any(|end| name.ends_with(end));
    found.retain(|path| is_trace(plain_name(&path.to_string_lossy())));
    found.sort();
    Ok(found)
}

/// `shardlab log`.
pub fn log(options: &LogOptions) -> anyhow::Result<Answer> {
    let name = options.file.display().to_string();
    let log = report::training_log(&table(&options.file)?).with_context(|| name.clone())?;
    if let Some(path) = &options.csv {
        write_file(path, &report::training_log_csv(&log))?;
        if path == Path::new("-") {
            return Ok(Answer::Yes);
        }
    }
    let write = if options.json { report::training_log_json } else { report::training_log_table };
    print(&write(&name, &log))?;
    Ok(Answer::Yes)
}
