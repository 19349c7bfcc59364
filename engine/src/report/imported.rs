//! What a measured trace says, as table, JSON and CSV with the columns of Holistic Trace Analysis.

use std::fmt::Write as _;

use serde_json::json;

use super::SCHEMA_VERSION;
use super::csv::quoted;
use crate::analysis::hta::{Beside, CriticalPath, DiffRow, TraceReport, critical_path};
use crate::trace::Imported;
use crate::units::{Bytes, BytesPerSec, Nanos};

fn percent(part: Nanos, of: Nanos) -> f64 {
    part.secs() / of.secs().max(1e-12) * 100.0
}

/// A name that is short enough for a column.
fn short(name: &str, length: usize) -> String {
    if name.chars().count() <= length {
        return name.to_owned();
    }
    let kept: String = name.chars().take(length.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// Ranks, the kernels that take most, and classes.
pub fn imported_table(name: &str, imported: &Imported, report: &TraceReport, top: usize) -> String {
    let trace = &imported.trace;
    let mut text = format!("{name}   [imported]\n\n");
    let (slices, tracks, time) = (trace.spans.len(), trace.tracks.len(), trace.step_time);
    let _ = writeln!(text, "  {slices} slices on {tracks} tracks in {time}, {} steps are marked", imported.steps.len());
    imported.notes.iter().for_each(|note| {
        let _ = writeln!(text, "  note: {note}");
    });
    if report.ranks.is_empty() {
        let _ = writeln!(text, "  no kernels of a device are in it");
    }
    ranks(&mut text, report);
    kernels(&mut text, report, top);
    collectives(&mut text, report, top);
    path(&mut text, &critical_path(imported), trace.step_time);
    text
}

/// What the critical path spends its time on.
fn path(text: &mut String, path: &CriticalPath, all: Nanos) {
    let _ = writeln!(text, "\n  critical path: {} slices, from what ends last back to what it waited for", path.count);
    let waiting = Some(("waiting", path.waiting)).filter(|(_, time)| *time > Nanos::ZERO);
    for (name, time) in path.by_activity.iter().map(|(activity, time)| (activity.name(), *time)).chain(waiting) {
        let _ = writeln!(text, "    {name:<16} {:>10} {:>6.1} %", time.to_string(), percent(time, all));
    }
    for (name, time) in path.longest.iter().take(5) {
        let _ = writeln!(text, "      {:>10}  {name}", time.to_string());
    }
}

fn ranks(text: &mut String, report: &TraceReport) {
    if report.ranks.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "\n  {:<18} {:>10} {:>8} {:>9} {:>12} {:>9} {:>10} {:>10} {:>8} {:>9}",
        "rank", "kernels", "idle", "compute", "non-compute", "overlap", "host wait", "other", "queue", "launch"
    );
    for rank in &report.ranks {
        let share = |part| format!("{:.1} %", percent(part, rank.kernel_time));
        let overlap = rank.overlap.map_or_else(|| "–".to_owned(), |overlap| format!("{:.1} %", overlap * 100.0));
        let _ = writeln!(
            text,
            "  {:<18} {:>10} {:>8} {:>9} {:>12} {:>9} {:>10} {:>10} {:>8} {:>9}{}",
            short(&rank.name, 18),
            rank.kernel_time.to_string(),
            share(rank.idle),
            share(rank.compute),
            share(rank.non_compute),
            overlap,
            rank.waits.host_wait.to_string(),
            (rank.waits.kernel_wait + rank.waits.other).to_string(),
            format!("{:.1}/{}", rank.queue.mean, rank.queue.max),
            rank.queue.delay.to_string(),
            if rank.is_straggler { "  ← slow: computes long, and others wait for it" } else { "" }
        );
    }
}

fn kernels(text: &mut String, report: &TraceReport, top: usize) {
    let all: Nanos = report.kernels.iter().map(|row| row.sum).sum();
    if report.kernels.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "\n  {:<48} {:>14} {:>8} {:>10} {:>8} {:>10} {:>10}",
        "kernel", "kind", "count", "sum", "share", "mean", "max"
    );
    for row in report.kernels.iter().take(top) {
        let _ = writeln!(
            text,
            "  {:<48} {:>14} {:>8} {:>10} {:>6.1} % {:>10} {:>10}",
            short(&row.name, 48),
            row.activity.name(),
            row.count,
            row.sum.to_string(),
            percent(row.sum, all),
            row.mean().to_string(),
            row.max.to_string()
        );
    }
}

/// Collectives, with the columns of nccl-tests.
fn collectives(text: &mut String, report: &TraceReport, top: usize) {
    if report.collectives.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "\n  {:<20} {:>6} {:<16} {:>11} {:>8} {:>10} {:>10} {:>10} {:>13} {:>13}",
        "group", "ranks", "collective", "size", "count", "mean", "min", "exposed", "algbw", "busbw"
    );
    let rate = |rate: Option<BytesPerSec>| rate.map_or_else(|| "–".to_owned(), |rate| rate.to_string());
    for row in report.collectives.iter().take(top) {
        let ranks = if row.ranks > 0 { row.ranks.to_string() } else { "–".to_owned() };
        let size = if row.size > Bytes::ZERO { row.size.to_string() } else { "–".to_owned() };
        let _ = writeln!(
            text,
            "  {:<20} {ranks:>6} {:<16} {size:>11} {:>8} {:>10} {:>10} {:>10} {:>13} {:>13}",
            short(if row.group.is_empty() { "–" } else { &row.group }, 20),
            row.class,
            row.count,
            row.mean().to_string(),
            row.min.to_string(),
            row.exposed.to_string(),
            rate(row.algorithm_bandwidth()),
            rate(row.bus_bandwidth())
        );
    }
}

/// Differences of two traces, the largest first.
pub fn diff_table(rows: &[DiffRow], top: usize) -> String {
    let mut text = format!(
        "\n  {:<48} {:>10} {:>9} {:>9} {:>11} {:>11} {:>11}\n",
        "kernel", "change", "before", "after", "before", "after", "difference"
    );
    for row in rows.iter().take(top) {
        let _ = writeln!(
            text,
            "  {:<48} {:>10} {:>9} {:>9} {:>11} {:>11} {:>11}",
            short(&row.name, 48),
            row.change.name(),
            row.counts[0],
            row.counts[1],
            row.times[0].to_string(),
            row.times[1].to_string(),
            signed(row.difference())
        );
    }
    text
}

/// A difference with its sign.
pub fn signed(time: Nanos) -> String {
    if time > Nanos::ZERO { format!("+{time}") } else { time.to_string() }
}

/// A measured trace beside a simulated step.
pub fn beside_table(name: &str, beside: &Beside) -> String {
    let mut text =
        format!("\n  a step of {name}\n  {:<16} {:>12} {:>12} {:>10}\n", "", "imported", "modelled", "ratio");
    for row in beside.times.iter().chain(&beside.classes) {
        let ratio = row.modelled.secs() / row.measured.secs().max(1e-12);
        let ratio = if row.measured > Nanos::ZERO { format!("{ratio:.2}") } else { "–".to_owned() };
        let _ = writeln!(
            text,
            "  {:<16} {:>12} {:>12} {ratio:>10}",
            row.what,
            row.measured.to_string(),
            row.modelled.to_string()
        );
    }
    text
}

/// All of it, for programs.
pub fn imported_json(
    imported: &Imported,
    report: &TraceReport,
    diff: Option<&[DiffRow]>,
    beside: Option<&Beside>,
) -> String {
    let document = json!({
        "schema_version": SCHEMA_VERSION,
        "origin": "imported",
        "slices": imported.trace.spans.len(),
        "time": imported.trace.step_time,
        "steps": imported.steps,
        "notes": imported.notes,
        "report": report,
        "critical_path": critical_path(imported),
        "diff": diff,
        "beside": beside,
    });
    format!("{document:#}\n")
}

/// `temporal_breakdown.csv`.
pub fn temporal_breakdown_csv(report: &TraceReport) -> String {
    let mut text = String::from(
        "rank,idle_time(us),compute_time(us),non_compute_time(us),kernel_time(us),idle_time_pctg,compute_time_pctg,non_compute_time_pctg\n",
    );
    let us = |time: Nanos| time.secs() * 1e6;
    for rank in &report.ranks {
        let _ = writeln!(
            text,
            "{},{:.3},{:.3},{:.3},{:.3},{:.2},{:.2},{:.2}",
            quoted(&rank.name),
            us(rank.idle),
            us(rank.compute),
            us(rank.non_compute),
            us(rank.kernel_time),
            percent(rank.idle, rank.kernel_time),
            percent(rank.compute, rank.kernel_time),
            percent(rank.non_compute, rank.kernel_time)
        );
    }
    text
}

/// `comm_comp_overlap.csv`.
pub fn overlap_csv(report: &TraceReport) -> String {
    let mut text = String::from("rank,comp_comm_overlap_pctg\n");
    for rank in &report.ranks {
        let share = rank.overlap.map(|overlap| format!("{:.2}", overlap * 100.0)).unwrap_or_default();
        let _ = writeln!(text, "{},{share}", quoted(&rank.name));
    }
    text
}

/// `kernel_breakdown.csv`.
pub fn kernel_breakdown_csv(report: &TraceReport) -> String {
    let mut text = String::from("name,kernel_type,class,num_kernels,sum(us),mean(us),min(us),max(us)\n");
    let us = |time: Nanos| time.secs() * 1e6;
    for row in &report.kernels {
        let _ = writeln!(
            text,
            "{},{},{},{},{:.3},{:.3},{:.3},{:.3}",
            quoted(&row.name),
            row.activity.name(),
            row.class,
            row.count,
            us(row.sum),
            us(row.mean()),
            us(row.min),
            us(row.max)
        );
    }
    text
}

/// `collectives.csv`.
pub fn imported_collectives_csv(report: &TraceReport) -> String {
    let mut text = String::from(
        "group,ranks,collective,size(B),count,sum(us),mean(us),min(us),max(us),exposed(us),algbw(B/s),busbw(B/s)\n",
    );
    let us = |time: Nanos| time.secs() * 1e6;
    let rate = |rate: Option<BytesPerSec>| rate.map_or_else(String::new, |rate| format!("{:.0}", rate.0));
    for row in &report.collectives {
        let _ = writeln!(
            text,
            "{},{},{},{},{},{:.3},{:.3},{:.3},{:.3},{:.3},{},{}",
            quoted(&row.group),
            row.ranks,
            row.class,
            row.size.0,
            row.count,
            us(row.time),
            us(row.mean()),
            us(row.min),
            us(row.max),
            us(row.exposed),
            rate(row.algorithm_bandwidth()),
            rate(row.bus_bandwidth())
        );
    }
    text
}

/// `trace_diff.csv`.
pub fn diff_csv(rows: &[DiffRow]) -> String {
    let mut text = String::from(
        "name,kernel_type,change,count_before,count_after,time_before(us),time_after(us),difference(us)\n",
    );
    let us = |time: Nanos| time.secs() * 1e6;
    for row in rows {
        let _ = writeln!(
            text,
            "{},{},{},{},{},{:.3},{:.3},{:.3}",
            quoted(&row.name),
            row.activity.name(),
            row.change.name(),
            row.counts[0],
            row.counts[1],
            us(row.times[0]),
            us(row.times[1]),
            us(row.difference())
        );
    }
    text
}
