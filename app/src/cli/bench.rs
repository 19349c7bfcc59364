//! `shardlab bench`.

use std::path::Path;

use anyhow::Context as _;
use pollster::block_on;
use shardlab_engine::exec::{self, BenchOptions, BenchReport, Section};
use shardlab_engine::report;

use super::args::BenchArguments;
use super::commands::open;
use super::output::{print, progress, write_file};
use super::{Answer, tuning};

/// Measures this device.
pub fn bench(options: &BenchArguments) -> anyhow::Result<Answer> {
    let old = options.compare.as_deref().map(read).transpose()?;
    let mut known = options.tune.as_deref().map(tuning::read).transpose()?.unwrap_or_default();
    let backend = open(options.backend.backend)?;
    let sections = sections(&options.only)?;
    let bench = BenchOptions { sections, largest: options.largest.clamp(64, 16_384) };
    let bar = progress(100);
    let mut told = |what: &str, share: f32| {
        bar.set_position((share * 100.0) as u64);
        bar.set_message(what.to_owned());
        true
    };
    let (found, _) = block_on(exec::bench(backend, &bench, &mut known, &mut told))?;
    bar.finish_and_clear();
    if let Some(file) = &options.tune {
        tuning::write(file, &known)?;
    }
    if let Some(file) = &options.csv {
        write_file(file, &report::bench_csv(&found))?;
    }
    print(&if options.json {
        report::bench_json(&found)
    } else {
        report::bench_table(&found, old.as_ref(), options.describe)
    })?;
    Ok(Answer::Yes)
}

fn sections(only: &[String]) -> anyhow::Result<Vec<Section>> {
    if only.is_empty() {
        return Ok(Section::ALL.to_vec());
    }
    let known = || Section::ALL.map(Section::name).join(", ");
    let find = |name: &String| {
        let found = Section::ALL.into_iter().find(|section| section.name() == name);
        found.with_context(|| format!("--only `{name}` is not known: expected {}", known()))
    };
    only.iter().map(find).collect()
}

/// Figures of an earlier run.
fn read(file: &Path) -> anyhow::Result<BenchReport> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot open `{}`", file.display()))?;
    serde_json::from_slice(&bytes)
        .with_context(|| format!("`{}` is no result of `shardlab bench --json`", file.display()))
}
