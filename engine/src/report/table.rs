//! Figures as a table for people.

use std::fmt::Write as _;

use crate::analysis::{Beside, Spent, StepReport, op_classes, run_cost};
use crate::cluster::Network;
use crate::compare::{Comparison, OpComparison};
use crate::exec::Calibration;
use crate::model::{Model, ParameterCount};
use crate::scenario::{Recompute, Scenario, UpdateRule};
use crate::trace::{MemoryCategory, Origin, Trace};
use crate::units::{Bytes, FlopsPerSec, Nanos};

/// Characters of a bar that stands for the whole step.
const BAR: f64 = 40.0;

/// The figures of a step: time, throughput, where the time goes, memory, and whether it fits.
pub fn report_table(scenario: &Scenario, trace: &Trace, report: &StepReport) -> String {
    let mut text = String::new();
    header(&mut text, scenario, report);
    figures(&mut text, scenario, report);
    cost(&mut text, scenario, report);
    breakdown(&mut text, report);
    let group = trace.group_of_stage(report.critical_stage).unwrap_or(0);
    text.push_str(&op_class_table(trace, group));
    text.push_str(&memory_table(report));
    text
}

fn header(text: &mut String, scenario: &Scenario, report: &StepReport) {
    let (s, mesh) = (scenario.strategy(), scenario.mesh());
    let parameters = ParameterCount::of(scenario.model()).total();
    let origin = match report.origin {
        Origin::Modelled => "modelled",
        Origin::Executed => "executed on this device",
        Origin::Imported => "imported",
    };
    let _ = writeln!(text, "{}   [{origin}]", scenario.name());
    let billions = |n: u64| n as f64 / 1e9;
    let active = match scenario.model().mixture {
        Some(_) => format!(", {:.2} B active", billions(ParameterCount::of(scenario.model()).active())),
        None => String::new(),
    };
    let _ = writeln!(text, "  model     {} ({:.2} B parameters{active})", scenario.model().name, billions(parameters));
    let cluster = scenario.cluster();
    let _ = writeln!(text, "  cluster   {} × {} {}", cluster.nodes, cluster.devices_per_node, cluster.device.name);
    let shared = if cluster.contention { ", messages share links" } else { "" };
    if cluster.topology.is_some() {
        let _ = writeln!(text, "            {}{shared}", network(&cluster.network));
    }
    for (number, kind) in (1..).zip(&cluster.exceptions) {
        let count = cluster.kind_of_device.iter().filter(|&&of_device| of_device == number).count();
        let (name, link) = (&kind.device.name, kind.inter_link.effective_bandwidth());
        let _ = writeln!(text, "            of them {count} × {name}, {link} to the network");
    }
    let sequence = if s.sequence_parallel { " (sequence parallel)" } else { "" };
    let _ = writeln!(text, "  strategy  {mesh}{sequence} = {} ranks", mesh.ranks());
    let (precision, recompute) = (s.precision.name(), repeated(s.recompute, report));
    let zero = match (s.zero as u32, s.sharding_group == s.copies()) {
        (0, _) => String::new(),
        (stage, true) => format!(", zero stage {stage}"),
        (stage, false) => format!(", zero stage {stage} over {} replicas", s.sharding_group),
    };
    let chunks = if s.virtual_stages > 1 { format!(" × {} chunks", s.virtual_stages) } else { String::new() };
    let schedule = format!("{}{chunks}", s.schedule.name().name());
    let _ = writeln!(text, "            {schedule}, {precision}, recompute {recompute}{zero}");
    let (micro, count) = (s.micro_batch, scenario.micro_batches());
    let (batch, sequence) = (s.global_batch, scenario.data().sequence_length);
    let samples = samples(scenario.model());
    let length = if scenario.model().positions > 1 { format!(" of {sequence} tokens") } else { String::new() };
    let _ = writeln!(text, "  batch     {batch} {samples}{length} = {count} micro-batches of {micro} on each replica");
}

/// What the run costs at this pace; of an execution nothing, since its ranks share a device.
fn cost(text: &mut String, scenario: &Scenario, report: &StepReport) {
    if report.origin != Origin::Modelled {
        return;
    }
    let cost = run_cost(scenario, report);
    let line = |spent: Spent| {
        let energy = spent.energy.map_or_else(String::new, |energy| format!(", at most {energy}"));
        let money = spent.money.map_or_else(String::new, |money| format!(", {money:.2} {}", cost.currency));
        format!("{:.3} device-hours{energy}{money}", spent.device_hours)
    };
    let samples = if scenario.data().sequence_length > 1 { "tokens" } else { samples(scenario.model()) };
    let _ = writeln!(text, "  cost        {} for a million {samples}", line(cost.million));
    if let (Some(run), Some(steps)) = (cost.run, cost.steps) {
        let time = super::long_seconds(run.seconds);
        let _ = writeln!(text, "              {} for {steps:.0} steps in {time}", line(run));
    }
}

/// What is computed again; of a budget, what it came to.
fn repeated(recompute: Recompute, report: &StepReport) -> String {
    match recompute {
        Recompute::Budget => format!("by budget ({} layers)", report.repeated_layers),
        other => other.name().to_owned(),
    }
}

/// Where measurements of such steps lie.
fn interval(report: &StepReport) -> String {
    report.interval.map_or_else(String::new, |[low, high]| {
        format!("   ({low} to {high} in four of five published runs on this device)")
    })
}

/// What a model's batch consists of.
fn samples(model: &Model) -> &'static str {
    match (model.has_sequences(), model.image) {
        (true, _) => "sequences",
        (_, Some(_)) => "images",
        _ => "samples",
    }
}

fn figures(text: &mut String, scenario: &Scenario, report: &StepReport) {
    let _ = writeln!(text, "\n  step time   {}{}", report.step_time, interval(report));
    if let UpdateRule::LocalSgd { interval: Some(interval) } = scenario.strategy().update {
        let mean = report.mean_step_time;
        let _ = writeln!(
            text,
            "              with an outer step; {mean} on average over {interval}, which the figures below are of"
        );
    }
    let (model, rate) = (scenario.model(), report.samples_per_s);
    let _ = match model.has_sequences() {
        true => writeln!(text, "  throughput  {:.0} tokens/s", report.tokens_per_s),
        false => writeln!(text, "  throughput  {rate:.0} {}/s", samples(model)),
    };
    if report.origin == Origin::Modelled {
        let _ = writeln!(text, "  MFU         {:.1} %   (HFU {:.1} %)", report.mfu * 100.0, report.hfu * 100.0);
        let _ = writeln!(text, "  bubble      {:.1} % of the average stage", report.bubble_fraction * 100.0);
    }
}

fn breakdown(text: &mut String, report: &StepReport) {
    let _ = writeln!(text, "\n  where the time goes (stage {}, the busiest)", report.critical_stage);
    let total = report.step_time.secs().max(1e-12);
    for (name, time) in report.breakdown.parts() {
        if time > Nanos::ZERO {
            let share = time.secs() / total;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 40")]
            let bar = "█".repeat((share * BAR).round() as usize);
            let _ = writeln!(text, "    {name:<14} {:>10} {:>5.1} %  {bar}", time.to_string(), share * 100.0);
        }
    }
    let _ = writeln!(text, "    {:<14} {:>10}", "sum", report.breakdown.total().to_string());
}

/// Time and rate of every class of op on a group of ranks.
pub fn op_class_table(trace: &Trace, group: u32) -> String {
    let mut text = format!("\n    {:<14} {:>8} {:>10} {:>14}\n", "ops", "count", "time", "rate");
    for class in op_classes(trace, group) {
        let rate = class.rate().map_or_else(String::new, |rate| rate.to_string());
        let _ = writeln!(text, "    {:<14} {:>8} {:>10} {rate:>14}", class.class, class.count, class.time.to_string());
    }
    text
}

/// Peak memory of every stage by category, and whether it fits.
pub fn memory_table(report: &StepReport) -> String {
    let mut text = format!("\n  peak memory per rank\n    {:<6}", "stage");
    for category in MemoryCategory::ALL {
        let _ = write!(text, " {:>15}", category.name());
    }
    let _ = writeln!(text, " {:>12}", "total");
    for peak in &report.peak_memory {
        let _ = write!(text, "    {:<6}", peak.stage);
        for category in MemoryCategory::ALL {
            let _ = write!(text, " {:>15}", peak.used.get(category).to_string());
        }
        let _ = writeln!(text, " {:>12}", peak.total.to_string());
    }
    let fit = &report.fit;
    let verdict = if fit.fits { "fits" } else { "DOES NOT FIT" };
    let _ = writeln!(
        text,
        "  {verdict}: stage {} needs {} of {}{}",
        fit.stage,
        fit.needed,
        fit.capacity,
        beside(fit.beside)
    );
    if report.outside > Bytes::ZERO {
        let _ = writeln!(text, "  outside the device, with the host or on its drives: {} a rank", report.outside);
    }
    if !fit.fits {
        let over = Bytes((fit.needed + fit.beside.total()).0.saturating_sub(fit.capacity.0));
        let _ =
            writeln!(text, "  over by {over}; the biggest block is {} with {}", fit.biggest.name(), fit.biggest_bytes);
    }
    text
}

/// What is on the device beside tensors, where that is known.
fn beside(beside: Beside) -> String {
    if beside == Beside::default() {
        return String::new();
    }
    format!("; beside tensors {} of context and {} of communicators", beside.context, beside.communicators)
}

/// Prediction beside execution.
pub fn comparison_table(comparison: &Comparison) -> String {
    let mut text = String::new();
    let (backend, calibration) = (&comparison.backend, &comparison.calibration);
    let _ = writeln!(text, "predicted and executed on {} ({}; {})", backend.name, backend.detail, backend.timing);
    let _ = writeln!(
        text,
        "  measured: matmul {} at side {}, attention {}, elementwise {}, memory {}, copy {}, kernel call {}",
        calibration.matmul,
        calibration.matmul_side,
        calibration.attention,
        calibration.vector,
        calibration.memory_bandwidth,
        calibration.copy_bandwidth,
        calibration.launch_overhead
    );
    let shaders = &calibration.shaders;
    let _ = writeln!(
        text,
        "  of kernels: {} workgroups at once, {} each to start and end, {:.2e} words or {:.2e} halves a second, half of the matmul rate at a contraction of {:.0}",
        shaders.at_once, shaders.workgroup, shaders.words_per_second, shaders.halves_per_second, shaders.depth
    );
    let _ = writeln!(text, "\n  {:<16} {:>12} {:>12} {:>8}", "op class", "predicted", "executed", "ratio");
    for row in &comparison.rows {
        let _ = writeln!(text, "  {:<16} {}", row.class, beside_each_other(row.predicted, row.executed, row.ratio()));
    }
    let all = beside_each_other(comparison.predicted_step, comparison.executed_step, Some(comparison.ratio()));
    let _ = writeln!(text, "  {:<16} {all}", "all ranks");
    for (stage, planned, allocated) in &comparison.memory {
        let verdict = if planned == allocated { "equal, byte for byte" } else { "DIFFERENT" };
        let (planned, allocated) = (planned.total(), allocated.total());
        let _ = writeln!(text, "  memory of stage {stage}: planned {planned}, allocated {allocated}: {verdict}");
    }
    text
}

/// What was measured of a device, a line each.
pub fn calibration_table(measured: &Calibration) -> String {
    let (info, shaders) = (&measured.backend, &measured.shaders);
    let mut text = format!("{} ({}), timed by {}\n", info.name, info.detail, info.timing);
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<19}{value}");
    };
    line(&format!("matmul (side {})", measured.matmul_side), measured.matmul.to_string());
    line("matmul in bf16", measured.half_matmul.to_string());
    line("attention", measured.attention.to_string());
    line("attention in bf16", FlopsPerSec(measured.attention.0 * shaders.half_attention).to_string());
    let gradient = measured.attention.0 * shaders.attention_gradient;
    line("its gradient", FlopsPerSec(gradient).to_string());
    line("that in bf16", FlopsPerSec(gradient * shaders.half_attention_gradient).to_string());
    line("elementwise", measured.vector.to_string());
    line("memory bandwidth", measured.memory_bandwidth.to_string());
    line("copy bandwidth", measured.copy_bandwidth.to_string());
    line("kernel call", measured.launch_overhead.to_string());
    line("on one processor", shaders.alone.to_string());
    line("behind another", shaders.chained.to_string());
    line("workgroups", format!("{} at once, {} each to start and end", shaders.at_once, shaders.workgroup));
    line("words", format!("{:.3e} read or written per second", shaders.words_per_second));
    line("halves", format!("{:.3e} read or written per second", shaders.halves_per_second));
    if let Some(words) = shaders.norm_words_per_second {
        line("words of norms", format!("{words:.3e} read or written per second, where rows are of fours"));
    }
    line("matmul depth", format!("{:.0}", shaders.depth));
    let formats = [("fp8", shaders.fp8), ("fp8 in blocks", shaders.fp8_block), ("nvfp4", shaders.nvfp4)];
    for (name, short) in formats.into_iter().filter_map(|(name, short)| Some((name, short?))) {
        let (decoded, encoded) = (short.decoded_per_second, short.encoded_per_second);
        line(name, format!("{decoded:.3e} widened per second, {encoded:.3e} rounded"));
    }
    text
}

/// Two times and their ratio, which there is none of where nothing was predicted.
fn beside_each_other(predicted: Nanos, executed: Nanos, ratio: Option<f64>) -> String {
    let ratio = ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
    format!("{:>12} {:>12} {ratio:>8}", predicted.to_string(), executed.to_string())
}

/// Prediction beside execution by op, all layers together.
pub fn op_comparison_table(comparison: &Comparison) -> String {
    let mut text = String::new();
    let name = |row: &OpComparison| match row.phase {
        Some(phase) => format!("{} ({})", row.name, phase.name()),
        None => format!("{} ({})", row.name, row.class),
    };
    let width = comparison.ops.iter().map(|row| name(row).chars().count()).max().unwrap_or(0).max(16);
    let _ = writeln!(text, "  {:<width$} {:>6} {:>12} {:>12} {:>8}", "op", "times", "predicted", "executed", "ratio");
    for row in &comparison.ops {
        let times = beside_each_other(row.predicted, row.executed, row.ratio());
        let _ = writeln!(text, "  {:<width$} {:>6} {times}", name(row), row.count);
    }
    text
}

/// A network in words.
fn network(network: &Network) -> String {
    match network {
        Network::NonBlocking => "non-blocking network".to_owned(),
        Network::LeafSpine { nodes, oversubscription } => {
            format!("leaf switches of {nodes} nodes under a spine, {oversubscription} : 1")
        }
        Network::Rails { nodes, oversubscription } => format!("rails in pods of {nodes} nodes, {oversubscription} : 1"),
        Network::Torus { dims } => {
            format!("torus of {} nodes", dims.iter().map(ToString::to_string).collect::<Vec<_>>().join(" × "))
        }
        Network::Dragonfly { nodes, oversubscription } => {
            format!("dragonfly with groups of {nodes} nodes, {oversubscription} : 1")
        }
    }
}
