//! What a step sends where: as table, CSV and JSON.

use std::fmt::Write as _;

use serde_json::json;

use super::SCHEMA_VERSION;
use crate::analysis::NetworkReport;
use crate::trace::Origin;

/// For people.
pub fn network_table(name: &str, report: &NetworkReport) -> String {
    let mut text = format!("{name}   [{}]\n", report.origin.name());
    if report.origin == Origin::Executed {
        text.push_str(&sent_table(report));
        text.push_str(&collectives_table(report));
        return text;
    }
    let _ = writeln!(text, "\n  {:<12} {:>14} {:>14}", "axis", "inside nodes", "between nodes");
    for axis in &report.axes {
        let (inside, between) = (axis.inside.to_string(), axis.between.to_string());
        let _ = writeln!(text, "  {:<12} {inside:>14} {between:>14}", axis.axis);
    }
    text.push_str(&collectives_table(report));
    let _ = writeln!(text, "\n  {:<36} {:>12} {:>12} {:>8}", "busiest links", "bytes", "capacity", "busy");
    for link in &report.links {
        let (bytes, capacity, share) = (link.bytes.to_string(), link.capacity.to_string(), link.share * 100.0);
        let _ = writeln!(text, "  {:<36} {bytes:>12} {capacity:>12} {share:>6.1} %", link.name);
    }
    text.push_str("\n  busy: bytes over what the link could carry in the step\n");
    text
}

/// Bytes that ranks sent each other, by axis.
fn sent_table(report: &NetworkReport) -> String {
    let mut text = format!("\n  {:<12} {:>14}\n", "axis", "sent");
    for axis in &report.axes {
        let _ = writeln!(text, "  {:<12} {:>14}", axis.axis, axis.inside.to_string());
    }
    text
}

fn collectives_table(report: &NetworkReport) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "\n  {:<28} {:>7} {:>12} {:>10} {:>10}",
        "collectives of a rank", "count", "bytes", "time", "exposed"
    );
    for of in &report.collectives {
        let (bytes, time, exposed) = (of.bytes.to_string(), of.time.to_string(), of.exposed.to_string());
        let name = format!("{} {}", of.stream.name(), of.class);
        let _ = writeln!(text, "  {name:<28} {:>7} {bytes:>12} {time:>10} {exposed:>10}", of.count);
    }
    text
}

/// The traffic matrix, a line for each cell that is not empty.
pub fn traffic_csv(report: &NetworkReport) -> String {
    let mut text = format!("axis,from_{0},to_{0},bytes\n", report.unit);
    for cell in &report.matrix {
        let _ = writeln!(text, "{},{},{},{}", cell.axis, cell.from, cell.to, cell.bytes.0);
    }
    text
}

/// For machines.
pub fn network_json(name: &str, report: &NetworkReport) -> String {
    let document = json!({
        "schema_version": SCHEMA_VERSION,
        "origin": report.origin,
        "scenario": name,
        "network": report,
    });
    format!("{document:#}\n")
}
