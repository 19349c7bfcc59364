//! What becomes of a long run, as table, CSV and JSON.

use std::fmt::Write as _;

use serde_json::json;

use super::SCHEMA_VERSION;
use crate::analysis::GoodputReport;
use crate::units::Nanos;

/// A long time in days, hours or minutes.
pub fn long_time(time: Nanos) -> String {
    long_seconds(time.secs())
}

/// The same of seconds, which may be more than nanoseconds can count.
pub fn long_seconds(seconds: f64) -> String {
    match seconds {
        s if s >= 172_800.0 => format!("{:.1} d", s / 86_400.0),
        s if s >= 7200.0 => format!("{:.1} h", s / 3600.0),
        s if s >= 120.0 => format!("{:.1} min", s / 60.0),
        s => Nanos::from_secs(s).to_string(),
    }
}

/// Where the time of the chosen way goes, and all ways at their best.
pub fn goodput_table(name: &str, report: &GoodputReport) -> String {
    let mut text = format!("{name}   [modelled]\n\n");
    let _ = writeln!(text, "  step {}, state {}", report.step, report.state);
    let _ = writeln!(text, "  a failure every {}, over {}", long_time(report.mtbf), long_time(report.horizon));
    let chosen = &report.chosen;
    let _ = writeln!(
        text,
        "\n  {} every {} steps ({})",
        report.mode.name(),
        chosen.interval,
        long_time(report.interval_time())
    );
    let all = chosen.time.total().secs().max(1e-12);
    for (part, time) in chosen.time.parts() {
        let _ = writeln!(text, "    {part:<12} {:>10} {:>8.2} %", long_time(time), time.secs() / all * 100.0);
    }
    let [worst, best] = chosen.range.map(|share| share * 100.0);
    let _ = writeln!(text, "    failures     {:>10}", chosen.time.failures);
    let _ =
        writeln!(text, "  goodput {:.2} % ({worst:.2} to {best:.2} % in single runs)", chosen.time.goodput() * 100.0);
    let _ = writeln!(
        text,
        "\n  {:<12} {:>10} {:>10} {:>10} {:>12} {:>10} {:>10} {:>9}",
        "way", "blocks", "then", "reads", "best (steps)", "Young", "Daly", "goodput"
    );
    for mode in &report.modes {
        let _ = writeln!(
            text,
            "  {:<12} {:>10} {:>10} {:>10} {:>12} {:>10.0} {:>10.0} {:>7.2} %",
            mode.mode.name(),
            long_time(mode.blocking),
            long_time(mode.background),
            long_time(mode.read),
            mode.best.interval,
            mode.young,
            mode.daly,
            mode.best.time.goodput() * 100.0
        );
    }
    paths(&mut text, report);
    text
}

/// The hops of the chosen way.
fn paths(text: &mut String, report: &GoodputReport) {
    let Some(own) = report.own() else { return };
    let _ =
        writeln!(text, "\n  the way of a whole checkpoint, {}; the slowest hop of a part decides", report.mode.name());
    for (part, hop) in own.hops() {
        let way = format!("{} → {}", hop.from.name(), hop.to.name());
        let time = long_time(hop.time);
        let _ = writeln!(text, "    {part:<12} {way:<18} {:>12} {time:>10}", hop.rate.to_string());
    }
}

/// Goodput of every way over the interval, for spreadsheets.
pub fn goodput_csv(report: &GoodputReport) -> String {
    let mut text = String::from(
        "mode,interval_steps,goodput,useful_ns,checkpoints_ns,lost_ns,down_ns,reading_ns,waiting_ns,failures\n",
    );
    for mode in &report.modes {
        for point in &mode.curve {
            let _ = write!(text, "{},{},{:.6}", mode.mode.name(), point.interval, point.time.goodput());
            for (_, time) in point.time.parts() {
                let _ = write!(text, ",{}", time.0);
            }
            let _ = writeln!(text, ",{}", point.time.failures);
        }
    }
    text
}

/// All of it, for programs.
pub fn goodput_json(report: &GoodputReport) -> String {
    format!("{:#}\n", json!({ "schema_version": SCHEMA_VERSION, "origin": "modelled", "goodput": report }))
}
