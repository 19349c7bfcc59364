//! How fast a step is lowered, simulated and reported: natively, in the page, and the ratio of both.

use crate::{paths, process};
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::{collections::BTreeMap, fs, process::Command};

/// The group of criterion's benchmark `simulate`, and the folder of its results.
const GROUP: &str = "lower, simulate and report";

/// How much longer the page may take.
const GOAL: f64 = 3.0;

/// Measures both, one after the other, and prints a table.
///
/// # Errors
/// When the page is not built, or a benchmark fails.
pub fn run() -> Result<()> {
    if !paths::dist().join("shardlab_bg.wasm").is_file() {
        bail!("expected the built page in dist/; run: cargo xtask web");
    }
    let native = native()?;
    let page = page(native.keys())?;
    println!("\n{:<28} {:>10} {:>10} {:>7}", "median of", "native", "page", "ratio");
    for (preset, native) in native {
        let page = page.get(&preset).copied().with_context(|| format!("expected the page to measure {preset}"))?;
        let ratio = page / native;
        let verdict = if ratio <= GOAL { "" } else { "  over the goal" };
        println!("{preset:<28} {native:>7.1} ms {page:>7.1} ms {ratio:>6.2}x{verdict}");
    }
    Ok(())
}

/// Medians in milliseconds by preset, as criterion keeps them.
fn native() -> Result<BTreeMap<String, f64>> {
    process::run(process::cargo().args(["bench", "-p", "shardlab-engine", "--bench", "simulate", "--", GROUP]))?;
    let folder = paths::target().join("criterion").join(GROUP);
    let mut medians = BTreeMap::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("expected results in {}", folder.display()))? {
        let entry = entry?;
        let file = entry.path().join("new/estimates.json");
        if let Ok(text) = fs::read_to_string(&file) {
            let estimates: Value = serde_json::from_str(&text)?;
            let median = estimates["median"]["point_estimate"].as_f64();
            let median = median.with_context(|| format!("expected a median in {}", file.display()))?;
            medians.insert(entry.file_name().to_string_lossy().into_owned(), median / 1e6);
        }
    }
    Ok(medians)
}

/// Medians in milliseconds by preset, as the page measures them in Chromium.
fn page<'a>(presets: impl Iterator<Item = &'a String>) -> Result<BTreeMap<String, f64>> {
    let mut node = Command::new("node");
    node.arg("speed.mjs").args(presets).current_dir(paths::web_tests());
    let said = process::output(&mut node).context("the page is measured with Node.js 20 or newer and Chromium")?;
    serde_json::from_str(&said).with_context(|| format!("expected medians by preset, got: {said}"))
}
