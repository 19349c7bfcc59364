//! `shardlab execute`: trains for real, where the scenario wants its ranks, and says what was measured.

use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::Range;
use std::path::Path;

use anyhow::Context as _;
use pollster::block_on;
use shardlab_engine::analysis::step_report;
use shardlab_engine::exec::{self, Backend, StepResult, Trainer};
use shardlab_engine::report;
use shardlab_engine::scenario::{PlacementName, Scenario};
use shardlab_engine::units::Bytes;

use super::args::{BackendChoice, ExecuteOptions, PlacementChoice, PoolChoice};
use super::commands::open_by;
use super::output::{export, print, progress};
use super::{Answer, input, tuning};

/// `shardlab execute`.
pub fn execute(options: &ExecuteOptions) -> anyhow::Result<Answer> {
    let word = &options.scenario.scenario;
    let mut file = input::scenario_file(word)?;
    file.run.pool = options.pool.map_or(file.run.pool, PoolChoice::name);
    file.run.pool_budget = options.pool_budget.or(file.run.pool_budget);
    file.run.placement = options.placement.map_or(file.run.placement, PlacementChoice::name);
    file.run.workers = options.workers.or(file.run.workers);
    let scenario = input::checked(word, &file)?;
    let graph = exec::executable_graph(&scenario)?;
    let backend = open_placed(options.backend.backend, &scenario)?;
    let steps = options.steps.unwrap_or(scenario.run().steps).max(1);
    let mut trainer = block_on(Trainer::of_graph(&scenario, graph, backend))?;
    if let Some(file) = &options.tune {
        tuning::tune(&mut trainer, file)?;
    }
    let trained = options.resume.as_ref().map_or(Ok(0), |file| resume(&mut trainer, file))?;
    anyhow::ensure!(trained < steps, "the checkpoint is of step {trained} already; ask for more than {steps} --steps");
    let keep = options.checkpoint.as_deref().map(|file| (file, options.checkpoint_interval));
    let results = train(&mut trainer, trained..steps, keep)?;
    let last = results.last().context("no step was trained")?;
    export(&options.export, &last.trace)?;
    print(&if options.export.json {
        report::execution_json(&scenario, trainer.step_graph(), trainer.backend(), &results)
    } else {
        execution_table(&scenario, &trainer, &results)
    })?;
    Ok(Answer::Yes)
}

/// What the host did for the calls of a step, where that is measured.
fn of_host(last: &StepResult) -> String {
    let (Some(host), Some(each)) = (last.host, last.encoding_per_call()) else { return String::new() };
    let calls = last.calls;
    format!("; the host encodes {calls} calls, {:.2} µs each, and submits in {}", each / 1e3, host.submitting)
}

/// Opens what the scenario wants its ranks to run on: one device, or workers with one each.
fn open_placed(choice: BackendChoice, scenario: &Scenario) -> anyhow::Result<Backend> {
    let (launcher, ranks) = (exec::Launcher::this_program()?, scenario.mesh().ranks());
    open_by(choice, &|kind| block_on(exec::open_placed(kind, scenario.run().placement, ranks, &launcher)))
}

fn resume(trainer: &mut Trainer, file: &Path) -> anyhow::Result<u32> {
    let name = file.display().to_string();
    let bytes = std::fs::read(file).with_context(|| format!("cannot open the checkpoint `{name}`"))?;
    block_on(trainer.resume(&bytes)).with_context(|| name)
}

/// Trains, and saves to `keep` after so many steps each.
fn train(trainer: &mut Trainer, steps: Range<u32>, keep: Option<(&Path, u32)>) -> anyhow::Result<Vec<StepResult>> {
    let bar = progress(steps.len() as u64);
    let mut results: Vec<StepResult> = Vec::new();
    let mut saved = None;
    for step in steps.clone() {
        let result = block_on(trainer.step()).with_context(|| last_checkpoint(step, keep, saved))?;
        bar.set_message(format!("loss {:.4}", result.loss));
        bar.inc(1);
        // Only the last step's trace is reported; thousands of them would fill the memory.
        if let Some(previous) = results.last_mut() {
            previous.trace.spans = Vec::new();
            previous.trace.memory = Vec::new();
        }
        results.push(result);
        if let Some((file, _)) = keep.filter(|(_, every)| (step + 1).is_multiple_of(*every) || step + 1 == steps.end) {
            save(trainer, file).with_context(|| last_checkpoint(step + 1, keep, saved))?;
            saved = Some(step + 1);
        }
    }
    bar.finish_and_clear();
    Ok(results)
}

/// Where a run that has stopped can go on.
fn last_checkpoint(step: u32, keep: Option<(&Path, u32)>, saved: Option<u32>) -> String {
    let after = format!("the run stopped after step {step}");
    match (keep, saved) {
        (Some((file, _)), Some(saved)) => {
            let file = file.display();
            format!("{after}; its last checkpoint is of step {saved}: go on with --resume {file}")
        }
        (Some(_), None) => format!("{after}, before its first checkpoint"),
        (None, _) => format!("{after}; with --checkpoint FILE it could go on"),
    }
}

/// Writes a checkpoint aside and puts it in its place when it is whole, so that there is always one.
fn save(trainer: &mut Trainer, file: &Path) -> anyhow::Result<()> {
    let bytes = block_on(trainer.checkpoint())?;
    let mut aside = file.as_os_str().to_owned();
    aside.push(".part");
    let write = || {
        let mut part = std::fs::File::create(&aside)?;
        part.write_all(&bytes)?;
        part.sync_all()?;
        std::fs::rename(&aside, file)
    };
    let written = write();
    if written.is_err() {
        std::fs::remove_file(&aside).ok();
    }
    written.with_context(|| format!("cannot write the checkpoint `{}`", file.display()))
}

fn execution_table(scenario: &Scenario, trainer: &Trainer, results: &[StepResult]) -> String {
    let (mut text, backend, ranks) = (String::new(), trainer.backend(), scenario.mesh().ranks());
    let placement = scenario.run().placement;
    let where_they_run = match (placement.kind, placement.workers(ranks)) {
        (PlacementName::Device, _) => format!("this device; {ranks} rank(s) share it"),
        (PlacementName::Adapters, workers) => format!("this machine; {ranks} rank(s) in {workers} thread(s)"),
        (PlacementName::Processes, workers) => format!("this machine; {ranks} rank(s) in {workers} process(es)"),
    };
    let _ = writeln!(text, "{}   [executed on {where_they_run}]", scenario.name());
    let _ = writeln!(
        text,
        "  backend   {} {} ({}), timed by {}",
        backend.kind.name(),
        backend.name,
        backend.detail,
        backend.timing
    );
    if scenario.strategy().precision.is_emulated() {
        let _ = writeln!(text, "  fp8 is emulated: rounded exactly as hardware rounds it, multiplied in fp32");
    }
    let ways: Vec<_> = trainer.ways().into_iter().map(|(way, calls)| format!("{way} {calls}")).collect();
    let _ = writeln!(text, "  products and attention of a step, by shader: {}", ways.join(", "));
    let unit = if scenario.model().has_sequences() { "tokens/s" } else { "samples/s" };
    let _ = writeln!(text, "\n  {:>6} {:>10} {:>10} {:>12} {:>12}", "step", "loss", "norm", "time", unit);
    let every = results.len().div_ceil(20).max(1);
    for (index, result) in results.iter().enumerate() {
        if index % every == 0 || index + 1 == results.len() {
            let (step, loss, norm, wall) = (result.step, result.loss, result.gradient_norm, result.wall.to_string());
            let _ = writeln!(
                text,
                "  {step:>6} {loss:>10.4} {norm:>10.4} {wall:>12} {:>12.0}",
                result.throughput(scenario)
            );
        }
    }
    if let Some(last) = results.last() {
        if let Some(scale) = last.loss_scale {
            let skipped = results.iter().filter(|result| result.skipped).count();
            let _ = writeln!(text, "\n  loss scale {scale}, steps skipped since gradients overflowed: {skipped}");
        }
        let moved: Vec<_> = last.moved.iter().map(|(axis, bytes)| format!("{axis} {bytes}")).collect();
        let moved = if moved.is_empty() { "nothing".to_owned() } else { moved.join(", ") };
        let _ = writeln!(text, "\n  moved between ranks each step: {moved}");
        let _ = writeln!(
            text,
            "  outside kernels: {:.1} % of the last step{}",
            last.outside_kernels() * 100.0,
            of_host(last)
        );
        if let Some(sent) = trainer.sent() {
            let _ = writeln!(text, "  over sockets each step: {} in {} messages", sent.bytes, sent.messages);
        }
        let (reserved, staging) = (last.reserved, trainer.staging());
        let _ = writeln!(text, "  buffers on the device: {reserved}, of which batches and messages {staging}");
        let policy = scenario.run().pool.name().name();
        for (rank, pool) in last.pools.iter().enumerate() {
            let _ = writeln!(text, "  pool of rank {rank}, {policy}: {}", report::pool_line(pool));
        }
        let outside: Bytes = trainer.outside().iter().map(|pool| pool.usage.at_peak.total()).sum();
        if outside > Bytes::ZERO {
            let _ = writeln!(text, "  for what is outside the device, of all ranks, in buffers of this one: {outside}");
        }
        let figures = step_report(trainer.step_graph(), scenario, &last.trace);
        text.push_str(&report::op_class_table(&last.trace, 0));
        text.push_str(&report::memory_table(&figures));
    }
    text
}
