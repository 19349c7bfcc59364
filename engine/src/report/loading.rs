//! A run that was fed from disk, measured beside modelled: as table and JSON.

use std::fmt::Write as _;

use serde_json::json;

use super::SCHEMA_VERSION;
use crate::compare::LoadingReport;
use crate::units::Nanos;

/// For people.
pub fn loading_table(name: &str, report: &LoadingReport) -> String {
    let mut text = format!("{name}   [executed beside modelled]\n\n");
    let options = &report.options;
    let _ = writeln!(
        text,
        "  {} samples of {} from disk ({}){}, {} threads, {} batches of each ahead; a cache of {} by {}",
        report.count,
        report.sample,
        report.kind,
        options.limit.map_or_else(String::new, |limit| format!(" at {:.1} MB/s at most", limit.0 / 1e6)),
        options.workers,
        options.prefetch,
        options.capacity,
        options.policy.name()
    );
    let _ = writeln!(text, "  a step of {} samples takes {} when it never waits\n", report.batch, report.step);
    let _ = writeln!(text, "  {:<34} {:>12} {:>12}", "", "executed", "modelled");
    let mut row = |what: &str, executed: String, modelled: String| {
        let _ = writeln!(text, "  {what:<34} {executed:>12} {modelled:>12}");
    };
    row("a step waits, second half of them", report.wait().to_string(), report.modelled.stall.to_string());
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    row("samples found in memory", percent(report.hits()), percent(report.modelled_hits));
    let each = |time: Nanos, count: u64| Nanos(time.0 / i64::try_from(count.max(1)).unwrap_or(1));
    let (loaded, missed) = (&report.loaded, report.loaded.samples - report.loaded.hits);
    row("a read", each(loaded.reading, missed).to_string(), String::new());
    row("decoding a sample", each(loaded.decoding, loaded.samples).to_string(), report.model.decode.to_string());
    let _ = writeln!(
        text,
        "\n  {} were read in all; the loss went from {:.4} to {:.4}",
        loaded.read,
        report.losses.first().copied().unwrap_or(f64::NAN),
        report.losses.last().copied().unwrap_or(f64::NAN)
    );
    text
}

/// For programs.
pub fn loading_json(name: &str, report: &LoadingReport) -> String {
    let document = json!({
        "schema_version": SCHEMA_VERSION,
        "scenario": name,
        "executed": { "wait": report.wait(), "hits": report.hits() },
        "modelled": { "wait": report.modelled.stall, "hits": report.modelled_hits },
        "loading": report,
    });
    format!("{document:#}\n")
}
