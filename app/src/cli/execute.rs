//! `shardlab execute`: trains for real, where the scenario wants its ranks, and says what was measured.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use pollster::block_on;
use shardlab_engine::analysis::{executed_network, step_report};
use shardlab_engine::exec::{self, Backend, CheckpointFolder, CheckpointForm, ExecError, StepResult, Stored, Trainer};
use shardlab_engine::report;
use shardlab_engine::scenario::{PlacementName, Scenario};
use shardlab_engine::units::Bytes;

use super::args::{BackendChoice, ExecuteOptions, PlacementChoice, PoolChoice};
use super::commands::open_by;
use super::output::{export, note, print, progress, write_file};
use super::{Answer, input, tuning};

/// `shardlab execute`.
pub fn execute(options: &ExecuteOptions) -> anyhow::Result<Answer> {
    let both = options.traffic_csv.as_deref() == Some(Path::new("-"));
    anyhow::ensure!(!both, "--traffic-csv needs a file: what the run gave goes to standard output");
    let word = &options.scenario.scenario;
    let mut file = input::scenario_file(word)?;
    file.run.pool = options.pool.map_or(file.run.pool, PoolChoice::name);
    file.run.pool_budget = options.pool_budget.or(file.run.pool_budget);
    file.run.memory_limit = options.memory_limit.or(file.run.memory_limit);
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
    let anew = options.checkpoint == options.resume;
    let trained = options.resume.as_ref().map_or(Ok(0), |file| resume(&mut trainer, file, anew))?;
    anyhow::ensure!(trained < steps, "the checkpoint is of step {trained} already; ask for more than {steps} --steps");
    let keeping = Keeping::of(options)?;
    if let Some(Keeping { keep: Keep::Folder(_, folder), .. }) = &keeping {
        folder.begin(trained, trainer.most_kept())?;
    }
    let (results, stored) = train(&mut trainer, trained..steps, keeping.as_ref())?;
    let last = results.last().context("no step was trained")?;
    export(&options.export, &last.trace, &|| step_report(trainer.step_graph(), &scenario, &last.trace))?;
    if let Some(path) = &options.traffic_csv {
        write_file(path, &report::traffic_csv(&executed_network(&last.trace, 0)))?;
    }
    print(&if options.export.json {
        report::execution_json(&scenario, trainer.step_graph(), trainer.backend(), &results, stored.as_ref())
    } else {
        let line = stored.map_or_else(String::new, |stored| format!("{}\n", stored_line(&stored)));
        execution_table(&scenario, &trainer, &results) + &line
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

/// Goes on from a file, or from the last checkpoint in a folder that is whole. A folder without one is a beginning where
/// checkpoints go there, `anew`.
fn resume(trainer: &mut Trainer, path: &Path, anew: bool) -> anyhow::Result<u32> {
    let name = path.display().to_string();
    if !path.is_dir() {
        let bytes = std::fs::read(path).with_context(|| format!("cannot open the checkpoint `{name}`"))?;
        return goes_on(block_on(trainer.resume(&bytes)).with_context(|| name)?, trainer);
    }
    let limit = trainer.most_kept();
    let Some(found) = CheckpointFolder::at(path).latest(limit).with_context(|| name.clone())? else {
        anyhow::ensure!(anew, "`{name}` has no checkpoint; to start from the beginning, leave out --resume");
        note(&format!("shardlab: `{name}` has no checkpoint yet; the run starts from the beginning"));
        return Ok(0);
    };
    for passed_over in &found.passed_over {
        note(&format!("shardlab: {passed_over}; the one before is taken"));
    }
    goes_on(trainer.go_on_from(found.checkpoint).with_context(|| name)?, trainer)
}

/// Says where the run goes on otherwise than the checkpoint was made.
fn goes_on(trained: u32, trainer: &Trainer) -> anyhow::Result<u32> {
    if let Some(otherwise) = trainer.goes_on_otherwise() {
        note(&format!("shardlab: {otherwise}"));
    }
    Ok(trained)
}

/// Where checkpoints of a run go.
enum Keep {
    /// One file that is written anew.
    File(PathBuf),
    /// A folder with the last ones.
    Folder(PathBuf, CheckpointFolder),
}

/// Where, in which form, and after how many steps each.
struct Keeping {
    keep: Keep,
    form: CheckpointForm,
    every: u32,
}

impl Keeping {
    fn of(options: &ExecuteOptions) -> anyhow::Result<Option<Self>> {
        let Some(path) = options.checkpoint.clone() else { return Ok(None) };
        let is_file = path.extension().is_some_and(|end| end == "safetensors");
        let form = CheckpointForm {
            sharded: options.checkpoint_sharded,
            compressed: options.checkpoint_zstd,
            reduced: options.checkpoint_bf16,
            once: !is_file,
        };
        anyhow::ensure!(
            !is_file || !(form.sharded || form.compressed),
            "`{}` is one file; shards and Zstandard need a folder: give --checkpoint a path that does not end in .safetensors",
            path.display()
        );
        let keep = if is_file {
            Keep::File(path)
        } else {
            let folder = CheckpointFolder::open(&path, options.checkpoint_keep as usize)?;
            Keep::Folder(path, folder)
        };
        Ok(Some(Self { keep, form, every: options.checkpoint_interval }))
    }

    fn path(&self) -> &Path {
        match &self.keep {
            Keep::File(path) | Keep::Folder(path, _) => path,
        }
    }

    fn save(&self, trainer: &mut Trainer) -> Result<Stored, ExecError> {
        block_on(trainer.store(self.form, |packed| async move {
            match &self.keep {
                Keep::Folder(_, folder) => folder.save(&packed),
                Keep::File(path) => packed.files.iter().try_for_each(|bytes| exec::write_aside(path, bytes)),
            }
        }))
    }
}

/// Trains, and saves after so many steps each; also returns what the last checkpoint took.
fn train(
    trainer: &mut Trainer,
    steps: Range<u32>,
    keeping: Option<&Keeping>,
) -> anyhow::Result<(Vec<StepResult>, Option<Stored>)> {
    let bar = progress(steps.len() as u64);
    let mut results: Vec<StepResult> = Vec::new();
    let mut saved: Option<Stored> = None;
    // What was gone on from is there, too.
    let before = Some(steps.start).filter(|&step| step > 0);
    for step in steps.clone() {
        let last = saved.map(|stored| stored.steps).or(before);
        let result = block_on(trainer.step()).with_context(|| last_checkpoint(step, keeping, last))?;
        bar.set_message(format!("loss {:.4}", result.loss));
        bar.inc(1);
        // Only the last step's trace is reported; thousands of them would fill the memory.
        if let Some(previous) = results.last_mut() {
            previous.trace.spans = Vec::new();
            previous.trace.memory = Vec::new();
        }
        results.push(result);
        let due = |keeping: &&Keeping| (step + 1).is_multiple_of(keeping.every) || step + 1 == steps.end;
        if let Some(keeping) = keeping.filter(due) {
            saved = Some(keeping.save(trainer).with_context(|| last_checkpoint(step + 1, Some(keeping), last))?);
        }
    }
    bar.finish_and_clear();
    Ok((results, saved))
}

/// Where a run that has stopped can go on.
fn last_checkpoint(step: u32, keeping: Option<&Keeping>, saved: Option<u32>) -> String {
    let after = format!("the run stopped after step {step}");
    match (keeping, saved) {
        (Some(keeping), Some(saved)) => {
            let path = keeping.path().display();
            format!("{after}; its last checkpoint is of step {saved}: go on with --resume {path}")
        }
        (Some(_), None) => format!("{after}, before its first checkpoint"),
        (None, _) => format!("{after}; with --checkpoint PATH it could go on"),
    }
}

/// What keeping a checkpoint took, in a line.
fn stored_line(stored: &Stored) -> String {
    format!(
        "  checkpoint of step {}: {} in {} file(s), {} before they were compressed; read in {}, packed in {}, written in {}",
        stored.steps, stored.stored, stored.files, stored.raw, stored.reading, stored.packing, stored.writing
    )
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
        let moved: Vec<_> = last.moved().into_iter().map(|(axis, bytes)| format!("{axis} {bytes}")).collect();
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
