//! Ways to hand something large to many nodes, as table, CSV and JSON.

use std::fmt::Write as _;

use serde_json::json;

use super::SCHEMA_VERSION;
use crate::analysis::{TransferPoint, TransferReport};
use crate::units::{Bytes, Nanos};

/// A share of one, or how many in a million and so on.
fn chance(share: f64) -> String {
    if share == 0.0 {
        "0".to_owned()
    } else if share >= 0.001 {
        format!("{:.1} %", share * 100.0)
    } else {
        format!("{share:.1e}")
    }
}

/// For people.
pub fn transfer_table(name: &str, report: &TransferReport) -> String {
    let transfer = &report.transfer;
    let mut text = format!("{name}   [modelled]\n\n");
    let _ = writeln!(
        text,
        "  {} to {} nodes, {:.2} GB/s each, {} one way, {} lost; chunks of {}, {} streams, {}",
        transfer.size,
        transfer.receivers,
        transfer.bandwidth.0 / 1e9,
        transfer.latency,
        chance(transfer.loss),
        transfer.chunk,
        transfer.streams,
        if transfer.checksums { "checksums" } else { "no checksums" }
    );
    let _ = writeln!(
        text,
        "  ideal {}: every node receives all the time; a stream reaches {:.2} GB/s ({})\n",
        report.ideal,
        report.chosen.stream.0 / 1e9,
        report.chosen.bound
    );
    let _ = writeln!(
        text,
        "  {:<15} {:>10} {:>8} {:>10} {:>11} {:>11} {:>12}",
        "method", "time", "of ideal", "first", "sent", "sent again", "wrong copy"
    );
    for handed in &report.methods {
        let _ = writeln!(
            text,
            "{} {:<15} {:>10} {:>6.1} % {:>10} {:>11} {:>11} {:>12}",
            if handed.method == transfer.method { "*" } else { " " },
            handed.method.name(),
            handed.time.to_string(),
            report.ideal.secs() / handed.time.secs().max(1e-12) * 100.0,
            handed.first.to_string(),
            handed.sent.to_string(),
            handed.resent.to_string(),
            chance(handed.wrong)
        );
    }
    let curve = |points: &[TransferPoint], unit: fn(u64) -> String| {
        points.iter().map(|point| format!("{} {}", unit(point.at), point.time)).collect::<Vec<_>>().join(", ")
    };
    let _ = writeln!(text, "\n  by chunk     {}", curve(&report.by_chunk, |at| Bytes(at).to_string()));
    let _ = writeln!(text, "  by streams   {}", curve(&report.by_streams, |at| at.to_string()));
    for method in &report.by_receivers {
        let _ = writeln!(
            text,
            "  by nodes     {:<15} {}",
            method.method.name(),
            curve(&method.points, |at| at.to_string())
        );
    }
    if let Some(undisturbed) = report.undisturbed {
        let _ = writeln!(text, "\n  no node of the job fails meanwhile: {:.3} %", undisturbed * 100.0);
    }
    text
}

/// For spreadsheets: every point of every curve.
pub fn transfer_csv(report: &TransferReport) -> String {
    let mut text = String::from("curve,method,at,time_ns\n");
    let mut row = |curve: &str, method: &str, at: u64, time: Nanos| {
        let _ = writeln!(text, "{curve},{method},{at},{}", time.0);
    };
    let chosen = report.transfer.method.name();
    report.by_chunk.iter().for_each(|point| row("chunk_bytes", chosen, point.at, point.time));
    report.by_streams.iter().for_each(|point| row("streams", chosen, point.at, point.time));
    for curve in &report.by_receivers {
        curve.points.iter().for_each(|point| row("receivers", curve.method.name(), point.at, point.time));
    }
    text
}

/// For programs.
pub fn transfer_json(name: &str, report: &TransferReport) -> String {
    let document =
        json!({ "schema_version": SCHEMA_VERSION, "origin": "modelled", "scenario": name, "transfer": report });
    format!("{document:#}\n")
}
