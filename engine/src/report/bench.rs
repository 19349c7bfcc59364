//! Micro-benchmarks as a tree for people, and as CSV and JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::json;

use super::SCHEMA_VERSION;
use super::csv::quoted;
use crate::exec::{BenchReport, Clock, Figure, Quanta, RooflinePoint, Section};
use crate::units::{BytesPerSec, FlopsPerSec};

/// A tree of all figures, each beside that of `old` where there is one; with `describe`, what each section means.
pub fn bench_table(report: &BenchReport, old: Option<&BenchReport>, describe: bool) -> String {
    let backend = &report.backend;
    let mut text = format!(
        "{} {} ({})   [executed on this device; kernels timed by {}]\n",
        backend.kind.name(),
        backend.name,
        backend.detail,
        backend.timing
    );
    if let Some(quanta) = &report.quanta {
        let _ = writeln!(text, "{}", clocks(quanta));
    }
    let roofline = report.roofline();
    let sections: Vec<Section> =
        Section::ALL.into_iter().filter(|section| report.figures.iter().any(|f| f.section == *section)).collect();
    for (number, section) in sections.iter().enumerate() {
        let last = number + 1 == sections.len();
        let _ = write!(text, "{} {}", if last { "└─" } else { "├─" }, section.name());
        // That ranks share the device is said always.
        let describe = describe || *section == Section::Collectives;
        let _ = if describe { writeln!(text, ": {}", section.describe()) } else { writeln!(text) };
        let figures: Vec<&Figure> = report.figures.iter().filter(|figure| figure.section == *section).collect();
        for (place, figure) in figures.iter().enumerate() {
            let branch = if place + 1 == figures.len() { "└─" } else { "├─" };
            let _ = write!(text, "{}  {branch} ", if last { " " } else { "│" });
            line(&mut text, figure, old.and_then(|old| old.same_as(figure)), &roofline);
        }
    }
    if let Some(verdict) = verdict(report) {
        let _ = writeln!(text, "\n{verdict}");
    }
    text
}

fn line(text: &mut String, figure: &Figure, old: Option<&Figure>, roofline: &[RooflinePoint]) {
    let _ = write!(text, "{:<44} {:>15}", figure.name, figure.written());
    if let Some(old) = old {
        let _ = write!(text, "  {:>6.2} x", figure.gain_over(old));
    }
    let point = roofline.iter().find(|point| point.name == figure.name && figure.section != Section::Matmul);
    if let Some(point) = point {
        let bound = if point.memory_bound { "memory" } else { "arithmetic" };
        let _ = write!(text, "  {:>5.1} % of the roof, bound by {bound}", point.share() * 100.0);
    }
    if figure.clock == Clock::Host {
        text.push_str("  host's clock");
    }
    let _ = if figure.detail.is_empty() { writeln!(text) } else { writeln!(text, "  {}", figure.detail) };
}

/// How fine the clocks are.
fn clocks(quanta: &Quanta) -> String {
    let host = quanta.host;
    match quanta.device {
        Some(device) => format!("timestamps of the device are multiples of {device}, the host's clock goes by {host}"),
        None => format!("all are on the host's clock, which goes by {host}"),
    }
}

/// What the roof consists of.
fn verdict(report: &BenchReport) -> Option<String> {
    let (peak, bandwidth) = (report.fp32_peak(), report.memory_bandwidth());
    (peak > 0.0 && bandwidth > 0.0).then(|| {
        format!(
            "roof: {} of arithmetic in fp32, {} of memory; they meet at {:.1} operations a byte",
            FlopsPerSec(peak),
            BytesPerSec(bandwidth),
            peak / bandwidth
        )
    })
}

/// All figures as one document; `bench --compare` reads it.
pub fn bench_json(report: &BenchReport) -> String {
    let document = json!({
        "schema_version": SCHEMA_VERSION,
        "origin": "executed",
        "backend": report.backend,
        "quanta": report.quanta,
        "sections": sections(report),
        "figures": report.figures,
        "roofline": report.roofline(),
    });
    format!("{document:#}\n")
}

/// What the figures of each section mean, and how they are timed.
fn sections(report: &BenchReport) -> BTreeMap<&'static str, &'static str> {
    let sections = report.figures.iter().map(|figure| figure.section);
    sections.map(|section| (section.name(), section.describe())).collect()
}

/// A line for each figure; those of collectives with the columns of nccl-tests, whose ranks share the device.
pub fn bench_csv(report: &BenchReport) -> String {
    let mut text = String::from(
        "section,name,value,unit,time_s,clock,quantum_s,flops,bytes,ranks,count,type,algbw_bytes_per_s,busbw_bytes_per_s,wrong,detail\n",
    );
    for figure in &report.figures {
        let unit = match figure.unit {
            crate::exec::Unit::FlopsPerSec => "flop/s",
            crate::exec::Unit::BytesPerSec => "B/s",
            crate::exec::Unit::Seconds => "s",
        };
        let clock = if figure.clock == Clock::Host { "host" } else { report.backend.timing };
        let quantum = report.quanta.map_or_else(String::new, |quanta| quanta.of(figure.clock).secs().to_string());
        let columns = figure.exchanged.map_or_else(
            || ",,,,,".to_owned(),
            |of| format!("{},{},float,{},{},{}", of.ranks, of.count, of.algbw, of.busbw, of.wrong),
        );
        let _ = writeln!(
            text,
            "{},{},{},{unit},{},{clock},{quantum},{},{},{columns},{}",
            figure.section.name(),
            quoted(&figure.name),
            figure.value,
            figure.nanos.secs(),
            figure.flops,
            figure.bytes,
            quoted(&figure.detail)
        );
    }
    text
}
