//! Where a step's time and memory go, and what would change it, for people.

use std::fmt::Write as _;

use serde_json::json;

use super::SCHEMA_VERSION;
use crate::analysis::explain::{Constant, MemoryLine, OpLine, constants, memory_lines, op_lines};
use crate::analysis::{Beside, StepReport, WhatIf, reserved};
use crate::graph::StepGraph;
use crate::scenario::Scenario;
use crate::sim::Slack;
use crate::units::{Bytes, Nanos};

/// Lines of a list that are printed; the rest is summed up.
const LINES: usize = 24;

/// Every second and every byte of the busiest and the fullest stage, with formulas; and the numbers in them.
pub fn explain_table(step: &StepGraph, scenario: &Scenario, report: &StepReport) -> String {
    let mut text = format!("{}   [modelled]\n", scenario.name());
    let _ = writeln!(
        text,
        "\n  step time {} = what stage {}, the busiest, does and waits for",
        report.step_time, report.critical_stage
    );
    for (name, time) in report.breakdown.parts() {
        if time > Nanos::ZERO {
            let _ = writeln!(text, "    {name:<16} {:>10}", time.to_string());
        }
    }
    ops(&mut text, &op_lines(step, scenario, report.critical_stage), report.step_time);
    memory(&mut text, &memory_lines(step, report.fit.stage), report);
    let held = reserved(step, report.fit.stage);
    let _ = writeln!(
        text,
        "  {:<44} {:<16} {:>7} {:>10} {:>10}  {:.1} % of it unused even at the peak: PyTorch's caching allocator, rules of its defaults",
        "reserved by a caching allocator",
        "",
        held.segments,
        "",
        held.reserved,
        held.fragmentation() * 100.0
    );
    beside(&mut text, report.fit.beside);
    numbers(&mut text, &constants(scenario));
    text
}

fn beside(text: &mut String, beside: Beside) {
    let lines = [
        ("context of the runtime, loaded kernels", beside.context, "of the device"),
        (
            "buffers of communicators",
            beside.communicators,
            "channels × connections × 10 MiB for every group that the step uses: NCCL's defaults",
        ),
    ];
    for (what, bytes, formula) in lines {
        let _ = writeln!(text, "  {what:<44} {:<16} {:>7} {:>10} {:>10}  {formula}", "", "", "", bytes.to_string());
    }
}

fn ops(text: &mut String, lines: &[OpLine], step_time: Nanos) {
    let _ = writeln!(
        text,
        "\n  ops of a rank of it; streams run beside each other, so their sum may exceed the step\n\n  {:<36} {:<15} {:>7} {:>10} {:>10} {:>6}  formula",
        "op", "phase", "count", "each", "total", "share"
    );
    for line in lines.iter().take(LINES) {
        let share = line.total.secs() / step_time.secs().max(1e-12) * 100.0;
        let _ = writeln!(
            text,
            "  {:<36} {:<15} {:>7} {:>10} {:>10} {share:>5.1}%  {}",
            line.name,
            line.phase.name(),
            line.count,
            line.each.to_string(),
            line.total.to_string(),
            line.formula
        );
    }
    let rest: Nanos = lines.iter().skip(LINES).map(|line| line.total).sum();
    if lines.len() > LINES {
        let _ = writeln!(
            text,
            "  {:<36} {:<15} {:>7} {:>10} {:>10}",
            "others",
            "",
            lines.len() - LINES,
            "",
            rest.to_string()
        );
    }
}

fn memory(text: &mut String, lines: &[MemoryLine], report: &StepReport) {
    let _ = writeln!(
        text,
        "\n  memory of a rank of stage {} when it is fullest: {} of {}\n\n  {:<44} {:<16} {:>7} {:>10} {:>10}  formula",
        report.fit.stage, report.fit.needed, report.fit.capacity, "tensors", "category", "count", "each", "total"
    );
    for line in lines.iter().take(LINES) {
        let _ = writeln!(
            text,
            "  {:<44} {:<16} {:>7} {:>10} {:>10}  {}",
            line.name,
            line.category.name(),
            line.count,
            line.each.to_string(),
            line.total.to_string(),
            line.formula
        );
    }
    let rest: Bytes = lines.iter().skip(LINES).map(|line| line.total).sum();
    if lines.len() > LINES {
        let _ = writeln!(
            text,
            "  {:<44} {:<16} {:>7} {:>10} {:>10}",
            "others",
            "",
            lines.len() - LINES,
            "",
            rest.to_string()
        );
    }
}

fn numbers(text: &mut String, constants: &[Constant]) {
    text.push_str("\n  numbers that this rests on\n");
    for constant in constants {
        let _ = writeln!(text, "    {:<22} {:>14}  {}", constant.name, constant.value, constant.source);
    }
}

/// The same as one document, complete.
pub fn explain_json(step: &StepGraph, scenario: &Scenario, report: &StepReport) -> String {
    let document = json!({
        "schema_version": SCHEMA_VERSION,
        "origin": "modelled",
        "scenario": scenario.name(),
        "step_time_s": report.step_time.secs(),
        "stage": report.critical_stage,
        "breakdown": report.breakdown,
        "ops": op_lines(step, scenario, report.critical_stage),
        "memory_stage": report.fit.stage,
        "memory": memory_lines(step, report.fit.stage),
        "caching_allocator": reserved(step, report.fit.stage),
        "beside_tensors": report.fit.beside,
        "constants": constants(scenario),
    });
    format!("{document:#}\n")
}

/// What each change gains.
pub fn what_if_table(scenario: &Scenario, before: Nanos, factor: f64, changes: &[WhatIf], path: &[Slack]) -> String {
    let mut text =
        format!("{}   [modelled]\n\n  step time {before}; each number better by {factor}:\n\n", scenario.name());
    for change in changes.iter().filter(|change| change.gain > 5e-5) {
        let kind = if change.is_class { "ops of class" } else { "hardware" };
        let _ = writeln!(
            text,
            "  {kind:<13} {:<28} {:>10} {:>7.2} %",
            change.what,
            change.step_time.to_string(),
            -change.gain * 100.0
        );
    }
    let idle = changes.iter().filter(|change| change.gain <= 5e-5).map(|change| change.what);
    let idle: Vec<&str> = idle.collect();
    if !idle.is_empty() {
        let _ = writeln!(text, "\n  no gain: {}", idle.join(", "));
    }
    critical_path(&mut text, path);
    text
}

/// What the critical path consists of, and what the other ops have to spare.
fn critical_path(text: &mut String, path: &[Slack]) {
    let _ = writeln!(
        text,
        "\n  critical path: ops that cannot be later, and the least that others have to spare\n\n  {:<6} {:<16} {:<15} {:<10} {:>10} {:>15} {:>12}",
        "stage", "ops of class", "phase", "stream", "critical", "of all", "least slack"
    );
    for line in path.iter().take(LINES) {
        let least = line.least.map_or_else(|| "-".to_owned(), |least| least.to_string());
        let [critical, all] = line.count;
        let _ = writeln!(
            text,
            "  {:<6} {:<16} {:<15} {:<10} {:>10} {:>15} {least:>12}",
            line.stage,
            line.class,
            line.phase.name(),
            line.stream.name(),
            line.critical.to_string(),
            format!("{critical} of {all}"),
        );
    }
}

/// The same as one document.
pub fn what_if_json(scenario: &Scenario, before: Nanos, factor: f64, changes: &[WhatIf], path: &[Slack]) -> String {
    let list: Vec<_> = changes
        .iter()
        .map(|change| {
            json!({
                "what": change.what,
                "kind": if change.is_class { "op_class" } else { "hardware" },
                "step_time_s": change.step_time.secs(),
                "gain": change.gain,
            })
        })
        .collect();
    let path: Vec<_> = path
        .iter()
        .map(|line| {
            json!({
                "stage": line.stage,
                "class": line.class,
                "phase": line.phase.name(),
                "stream": line.stream.name(),
                "critical_s": line.critical.secs(),
                "critical_ops": line.count[0],
                "ops": line.count[1],
                "least_slack_s": line.least.map(Nanos::secs),
            })
        })
        .collect();
    let document = json!({
        "schema_version": SCHEMA_VERSION,
        "origin": "modelled",
        "scenario": scenario.name(),
        "step_time_s": before.secs(),
        "factor": factor,
        "changes": list,
        "critical_path": path,
    });
    format!("{document:#}\n")
}
