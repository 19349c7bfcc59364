//! A report as one page that needs nothing else: figures, pictures and tables, opened without a network.

use std::fmt::Write as _;

use super::palette::part_rgb;
use super::svg::{BINS, breakdown_svg, escaped, heat_svg, memory_svg, timeline_svg};
use super::variants::{
    Comparison, Variant, best_of, cause_text, change_text, compared_rows, signed_bytes, signed_time, value_text,
};
use super::{edits_text, report_table};
use crate::analysis::explain::constants;
use crate::analysis::{
    NetworkReport, RunCost, Spent, StepReport, heat_map, metrics, network, op_classes, run_cost, slow_groups,
};
use crate::graph::StepGraph;
use crate::scenario::{Scenario, ScenarioFile};
use crate::search::{Advice, Cause, Effect};
use crate::trace::{Origin, Trace};

/// A run that a page tells of.
#[derive(Clone, Copy, Debug)]
pub struct PageRun<'a> {
    /// The scenario as it was written.
    pub file: &'a ScenarioFile,
    /// The same, checked.
    pub scenario: &'a Scenario,
    /// What it was lowered to.
    pub step: &'a StepGraph,
    /// Its step.
    pub trace: &'a Trace,
    /// Its figures.
    pub report: &'a StepReport,
}

/// The least by which a group of ranks is slower than its neighbours to be named.
const SLOWER: f64 = 0.02;

const STYLE: &str = "body{font:14px/1.45 system-ui,sans-serif;max-width:1240px;margin:2em auto;padding:0 1em;\
color:#1c2430;background:#fff}h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em;border-bottom:1px solid #8886}\
table{border-collapse:collapse;margin:.5em 0}td,th{padding:.2em .8em;text-align:left;border-bottom:1px solid #8883}\
td.n{text-align:right;font-variant-numeric:tabular-nums}svg{max-width:100%;height:auto}pre{overflow:auto;\
background:#8881;padding:1em}.o{border:1px solid;border-radius:1em;padding:0 .6em;font-size:.8em}.b{font-weight:bold}\
.g{color:#1a7f4b}.r{color:#c62828}small{opacity:.75}\
@media(prefers-color-scheme:dark){body{color:#d7dee8;background:#12161c}.g{color:#5ec98f}.r{color:#ff7b72}}";

/// The page of one run, or of several beside the first.
pub fn html_report(runs: &[PageRun<'_>], comparison: Option<&Comparison<'_>>, advice: &[Advice]) -> String {
    let title = runs.iter().map(|run| run.scenario.name()).collect::<Vec<_>>().join(" · ");
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>\n<h1>{0}</h1>\n",
        escaped(&title)
    );
    if let Some(comparison) = comparison {
        compared(&mut page, comparison);
        strips(&mut page, runs);
    }
    for run in runs {
        one(&mut page, run);
    }
    advised(&mut page, advice);
    assumptions(&mut page, runs);
    let _ = writeln!(
        page,
        "<p><small>Shardlab {}. Modelled figures come from a cost model; nothing has run. \
         No part of this page is loaded from elsewhere.</small></p></body></html>",
        env!("CARGO_PKG_VERSION")
    );
    page
}

fn origin(origin: Origin) -> String {
    format!("<span class=\"o\">{}</span>", origin.name())
}

/// A run for a comparison.
pub fn variant_of(scenario: &Scenario, report: &StepReport) -> Variant {
    Variant { name: scenario.name().to_owned(), origin: report.origin, measures: metrics(scenario, report) }
}

fn one(page: &mut String, run: &PageRun<'_>) {
    let report = run.report;
    let _ = writeln!(page, "<h2>{} {}</h2>", escaped(run.scenario.name()), origin(report.origin));
    if let Some(about) = &run.file.description {
        let _ = writeln!(page, "<p>{}</p>", escaped(about));
    }
    figures(page, run);
    costs(page, &run_cost(run.scenario, report));
    page.push_str("<h3>Where the time goes</h3>\n");
    page.push_str(&breakdown_svg(&report.breakdown, report.step_time));
    legend(page, report);
    page.push_str("<h3>Step over time</h3>\n");
    page.push_str(&timeline_svg(run.trace, run.trace.step_time));
    page.push_str("<h3>Ranks over time</h3><p><small>blue computes, orange communicates, grey waits</small></p>\n");
    page.push_str(&heat_svg(&heat_map(run.trace, BINS)));
    for slow in slow_groups(run.trace, SLOWER) {
        let percent = slow.slower * 100.0;
        let _ =
            writeln!(page, "<p>Slow: {} ranks of stage {} compute {percent:.1} % longer.</p>", slow.ranks, slow.stage);
    }
    page.push_str("<h3>Memory over time</h3>\n");
    for (index, curve) in run.trace.memory.iter().enumerate().take(8) {
        let _ = writeln!(page, "<p>stage {}</p>", curve.stage);
        page.push_str(&memory_svg(run.trace, index, report.fit.capacity));
    }
    let group = run.trace.group_of_stage(report.critical_stage).unwrap_or(0);
    classes(page, run.trace, group);
    if report.origin == Origin::Modelled {
        traffic(page, &network(run.step, run.scenario, run.trace, group));
    }
    let _ = writeln!(
        page,
        "<details><summary>As text</summary><pre>{}</pre></details>",
        escaped(&report_table(run.scenario, run.trace, report))
    );
    let written = toml::to_string_pretty(run.file).unwrap_or_default();
    let _ = writeln!(page, "<details><summary>Scenario (TOML)</summary><pre>{}</pre></details>", escaped(&written));
}

fn legend(page: &mut String, report: &StepReport) {
    page.push_str("<p>");
    for (name, time) in report.breakdown.parts().into_iter().filter(|(_, time)| time.0 > 0) {
        let (rgb, share) = (part_rgb(name), time.secs() / report.step_time.secs().max(1e-12) * 100.0);
        let name = name.replace('_', " ");
        let _ = write!(page, "<small><span style=\"color:#{rgb:06x}\">■</span> {name} {share:.1} % &emsp;</small>");
    }
    page.push_str("</p>\n");
}

fn table(page: &mut String, head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    page.push_str("<table><tr>");
    head.iter().for_each(|name| {
        let _ = write!(page, "<th>{}</th>", escaped(name));
    });
    page.push_str("</tr>\n");
    for row in rows {
        page.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let class = if column > 0 { " class=\"n\"" } else { "" };
            let _ = write!(page, "<td{class}>{}</td>", escaped(cell));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
}

fn figures(page: &mut String, run: &PageRun<'_>) {
    let measures = metrics(run.scenario, run.report);
    let rows = measures.iter().filter_map(|measure| {
        let value = measure.value.filter(|value| *value != 0.0)?;
        Some(vec![measure.key.replace('_', " "), measure.text(value)])
    });
    table(page, &["figure", "value"], rows);
    let fit = &run.report.fit;
    let class = if fit.fits { "g" } else { "r" };
    let verdict = if fit.fits { "fits" } else { "does not fit" };
    let _ = writeln!(
        page,
        "<p><span class=\"{class} b\">It {verdict}</span>: {} of {} on stage {}.</p>",
        fit.needed, fit.capacity, fit.stage
    );
}

fn costs(page: &mut String, cost: &RunCost) {
    let spent = |name: &str, spent: Spent| {
        let money = spent.money.map_or_else(|| "–".to_owned(), |money| format!("{money:.2} {}", cost.currency));
        let energy = spent.energy.map_or_else(|| "–".to_owned(), |energy| energy.to_string());
        let hours = format!("{:.3}", spent.device_hours);
        vec![name.to_owned(), super::long_seconds(spent.seconds), hours, energy, money]
    };
    let mut rows = vec![spent("a step", cost.step), spent("a million tokens", cost.million)];
    rows.extend(cost.run.map(|run| spent("the whole run", run)));
    page.push_str("<h3>What it costs</h3>\n");
    table(page, &["", "time", "device-hours", "energy, at most", "money"], rows);
}

fn classes(page: &mut String, trace: &Trace, group: u32) {
    page.push_str("<h3>Op classes of the busiest stage</h3>\n");
    let rows = op_classes(trace, group).into_iter().map(|class| {
        let rate = class.rate().map_or_else(String::new, |rate| rate.to_string());
        vec![class.class.to_owned(), class.count.to_string(), class.time.to_string(), class.flops.to_string(), rate]
    });
    table(page, &["class", "count", "time", "work", "rate"], rows);
}

fn traffic(page: &mut String, report: &NetworkReport) {
    page.push_str("<h3>Network</h3>\n");
    let axes =
        report.axes.iter().map(|axis| vec![axis.axis.to_owned(), axis.inside.to_string(), axis.between.to_string()]);
    table(page, &["axis", "inside nodes", "between nodes"], axes);
    let uses = report.collectives.iter().map(|of| {
        let (time, exposed) = (of.time.to_string(), of.exposed.to_string());
        vec![format!("{} {}", of.stream.name(), of.class), of.count.to_string(), of.bytes.to_string(), time, exposed]
    });
    table(page, &["collective", "count", "bytes of a rank", "time", "exposed"], uses);
    let links = report.links.iter().map(|link| {
        let share = format!("{:.1} %", link.share * 100.0);
        vec![link.name.clone(), link.bytes.to_string(), link.capacity.to_string(), share]
    });
    table(page, &["busiest links", "bytes", "capacity", "busy"], links);
}

fn compared(page: &mut String, comparison: &Comparison<'_>) {
    let variants = comparison.variants;
    page.push_str("<h2>Side by side</h2><table><tr><th>figure</th>");
    for variant in variants {
        let _ = write!(page, "<th>{} {}</th>", escaped(&variant.name), origin(variant.origin));
    }
    page.push_str("</tr>\n");
    for row in compared_rows(variants) {
        let best = best_of(variants, row);
        let _ = write!(page, "<tr><td>{}</td>", variants[0].measures[row].key.replace('_', " "));
        for (index, variant) in variants.iter().enumerate() {
            cell(page, variants, variant, row, best.contains(&index), index);
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
    let head: Vec<&str> =
        std::iter::once("setting that differs").chain(variants.iter().map(|v| v.name.as_str())).collect();
    let rows = comparison.settings.iter().map(|setting| {
        std::iter::once(setting.path.clone()).chain(setting.values.iter().map(value_text)).collect::<Vec<_>>()
    });
    table(page, &head, rows);
    for (variant, why) in variants.iter().skip(1).zip(comparison.causes) {
        let Some(why) = why else { continue };
        let _ = writeln!(page, "<h3>Why {} differs from {}</h3>", escaped(&variant.name), escaped(&variants[0].name));
        let row = |cause: &Cause| vec![cause_text(cause), signed_time(cause.time), signed_bytes(cause.memory)];
        let rows = why.causes.iter().map(row);
        table(page, &["setting", "step time", "memory"], rows);
    }
}

fn cell(page: &mut String, variants: &[Variant], variant: &Variant, row: usize, best: bool, index: usize) {
    let measure = &variant.measures[row];
    let Some(value) = measure.value else {
        page.push_str("<td class=\"n\">–</td>");
        return;
    };
    let class = if best { "n b" } else { "n" };
    let _ = write!(page, "<td class=\"{class}\">{}", escaped(&measure.text(value)));
    if let Some(base) = variants[0].measures[row].value.filter(|base| index > 0 && *base != value) {
        let color = if measure.prefers(value, base) {
            "g"
        } else if measure.prefers(base, value) {
            "r"
        } else {
            ""
        };
        let _ = write!(page, " <small class=\"{color}\">{}</small>", escaped(&change_text(measure, base, value)));
    }
    page.push_str("</td>");
}

/// The steps of all runs on a common zero.
fn strips(page: &mut String, runs: &[PageRun<'_>]) {
    let longest = runs.iter().map(|run| run.trace.step_time).max().unwrap_or_default();
    page.push_str("<h3>Steps on a common zero</h3>\n");
    for run in runs {
        let _ = writeln!(page, "<p>{} – {}</p>", escaped(run.scenario.name()), run.trace.step_time);
        page.push_str(&breakdown_svg(&run.report.breakdown, longest));
        page.push_str(&timeline_svg(run.trace, longest));
    }
}

fn advised(page: &mut String, advice: &[Advice]) {
    if advice.is_empty() {
        return;
    }
    page.push_str("<h2>What to change</h2><p><small>each change simulated by itself</small></p>\n");
    let rows = advice.iter().map(|advice| {
        let gain = format!("{:+.1} %", advice.gain * 100.0);
        let rounding = if advice.effect == Effect::Rounding { "rounds otherwise" } else { "same sums" };
        let (step, memory) = (advice.way.step_time.to_string(), signed_bytes(advice.memory));
        vec![edits_text(&advice.way.edits), gain, step, memory, rounding.to_owned()]
    });
    table(page, &["change", "gain", "step", "memory", "what is learned"], rows);
}

fn assumptions(page: &mut String, runs: &[PageRun<'_>]) {
    let Some(run) = runs.iter().find(|run| run.report.origin == Origin::Modelled) else { return };
    page.push_str("<h2>What the model takes for given</h2>\n");
    let rows = constants(run.scenario).into_iter().map(|of| vec![of.name.to_owned(), of.value, of.source]);
    table(page, &["constant", "value", "source"], rows);
}
