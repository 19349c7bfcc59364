//! The result of a search as a table and as JSON.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::SCHEMA_VERSION;
use crate::search::{Found, Outcome, Space};

/// The found strategies with the fields in which they differ, and how all others were decided.
pub fn search_table(space: &Space, outcome: &Outcome, seconds: f64) -> String {
    let mut text = String::new();
    let axes: Vec<&str> = space.axes.iter().map(|axis| short(&axis.path)).collect();
    let rows: Vec<Vec<String>> = outcome.found.iter().map(|found| row(space, found)).collect();
    let heads = ["#", "step time", "memory", "tokens/s", "MFU"].into_iter().chain(axes);
    let heads: Vec<String> = heads.map(str::to_owned).collect();
    let _ = writeln!(text, "strategies of {} [modelled]\n", space.len());
    let numbered = rows.into_iter().zip(1..).map(|(row, n)| [vec![n.to_string()], row].concat());
    let lines: Vec<Vec<String>> = std::iter::once(heads).chain(numbered).collect();
    let widths: Vec<usize> = (0..lines[0].len()).map(|column| width(&lines, column)).collect();
    for line in &lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:>width$}")).collect();
        let _ = writeln!(text, "  {}", cells.join("  ").trim_end());
    }
    if outcome.found.is_empty() {
        text.push_str("  none fits\n");
    }
    text.push_str(&decided(outcome, seconds));
    text
}

fn width(lines: &[Vec<String>], column: usize) -> usize {
    lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
}

/// The last name of a path.
fn short(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn row(space: &Space, found: &Found) -> Vec<String> {
    let figures = [
        found.step_time.to_string(),
        found.memory.to_string(),
        format!("{:.0}", found.tokens_per_s),
        format!("{:.1} %", found.mfu * 100.0),
    ];
    figures.into_iter().chain(space.values(found.index).into_iter().map(plain)).collect()
}

fn decided(outcome: &Outcome, seconds: f64) -> String {
    let (mut text, counts) = (String::new(), &outcome.counts);
    let invalid: u64 = counts.invalid.values().sum();
    let _ = writeln!(text, "\n  {invalid:>10} contradict a constraint");
    for (path, n) in &counts.invalid {
        let _ = writeln!(text, "  {:>10}   of {path}", format!("({n})"));
    }
    let _ = writeln!(text, "  {:>10} need more memory than there is, by their lower bound", counts.too_large);
    let _ = writeln!(text, "  {:>10} are slower than what was found, by their lower bound", counts.pruned);
    let _ = writeln!(text, "  {:>10} simulated", counts.simulated);
    let _ = writeln!(text, "  {:>10} do the same as one of these", counts.alike);
    let rate = counts.decided() as f64 / seconds.max(1e-9);
    let _ = writeln!(text, "  {:>10} decided in {seconds:.2} s: {rate:.0} a second", counts.decided());
    if !outcome.complete {
        text.push_str("  stopped before the end; --state FILE lets a search go on\n");
    }
    text
}

/// The same as one document.
pub fn search_json(space: &Space, outcome: &Outcome, seconds: f64) -> String {
    let found: Vec<Value> = outcome.found.iter().map(|found| entry(space, found)).collect();
    let document = json!({
        "schema_version": SCHEMA_VERSION,
        "origin": "modelled",
        "strategies": space.len(),
        "axes": space.axes,
        "found": found,
        "counts": outcome.counts,
        "complete": outcome.complete,
        "seconds": seconds,
    });
    format!("{document:#}\n")
}

fn entry(space: &Space, found: &Found) -> Value {
    let values: Map<String, Value> = space
        .axes
        .iter()
        .zip(space.values(found.index))
        .map(|(axis, value)| (axis.path.clone(), value.clone()))
        .collect();
    json!({
        "step_time_s": found.step_time.secs(),
        "peak_memory_bytes": found.memory.0,
        "devices": found.devices,
        "device_seconds": found.step_time.secs() * f64::from(found.devices),
        "mfu": found.mfu,
        "tokens_per_s": found.tokens_per_s,
        "values": values,
    })
}
