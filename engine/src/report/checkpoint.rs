//! Checkpoints in every form, measured beside modelled: as table, CSV and JSON.

use std::fmt::Write as _;

use serde_json::json;

use super::SCHEMA_VERSION;
use crate::compare::CheckpointReport;

/// For people.
pub fn checkpoint_table(name: &str, report: &CheckpointReport) -> String {
    let mut text = format!("{name}   [executed; modelled where it says so]\n\n");
    let _ = writeln!(
        text,
        "  the folder takes {:.1} MB/s until bytes are there, measured with {}\n",
        report.rate.0 / 1e6,
        report.probe
    );
    let _ = writeln!(
        text,
        "  {:<11} {:>5} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>6} {:>11} {:>11}",
        "form", "files", "raw", "stored", "read", "pack", "write", "all", "load", "exact", "bytes (mod)", "write (mod)"
    );
    for row in &report.rows {
        let stored = &row.stored;
        let _ = writeln!(
            text,
            "  {:<11} {:>5} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>6} {:>11} {:>11}",
            row.name,
            stored.files,
            stored.raw.to_string(),
            stored.stored.to_string(),
            stored.reading.to_string(),
            stored.packing.to_string(),
            stored.writing.to_string(),
            stored.total().to_string(),
            row.loading.to_string(),
            if row.exact { "yes" } else { "no" },
            row.modelled_bytes.to_string(),
            row.modelled_writing.to_string()
        );
    }
    text.push_str(
        "\n  every rank: what replicas hold alike is written by each; all other forms write it once. (mod): the simulator's state,\n  at the folder's rate. bf16 rounds, so what is loaded is not what was saved.\n",
    );
    text
}

/// For spreadsheets.
pub fn checkpoint_csv(report: &CheckpointReport) -> String {
    let mut text = String::from(
        "form,files,raw_bytes,stored_bytes,read_ns,pack_ns,write_ns,load_ns,exact,modelled_bytes,modelled_write_ns\n",
    );
    for row in &report.rows {
        let stored = &row.stored;
        let _ = writeln!(
            text,
            "{},{},{},{},{},{},{},{},{},{},{}",
            row.name,
            stored.files,
            stored.raw.0,
            stored.stored.0,
            stored.reading.0,
            stored.packing.0,
            stored.writing.0,
            row.loading.0,
            row.exact,
            row.modelled_bytes.0,
            row.modelled_writing.0
        );
    }
    text
}

/// For programs.
pub fn checkpoint_json(name: &str, report: &CheckpointReport) -> String {
    let document = json!({
        "schema_version": SCHEMA_VERSION,
        "origin": "executed",
        "scenario": name,
        "checkpoints": report,
    });
    format!("{document:#}\n")
}
