//! The commands, one function each.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;
use pollster::block_on;
use shardlab_engine::analysis::step_report;
use shardlab_engine::compare::predict_and_execute;
use shardlab_engine::exec::{self, Backend, BackendKind, StepResult, Trainer};
use shardlab_engine::graph::{dot, lower};
use shardlab_engine::scenario::{self, Scenario};
use shardlab_engine::units::Bytes;
use shardlab_engine::{analysis, report, sim, validate};

use super::args::{
    Arguments, BackendChoice, CalibrateOptions, CompareOptions, ExecuteOptions, ExplainOptions, FitOptions,
    GraphFormat, GraphOptions, PoolChoice, PoolOptions, SimulateOptions, ValidateOptions, WhatIfOptions,
};
use super::output::{export, note, percentage, print, progress, write_file};
use super::{Answer, input, tuning};

/// `shardlab simulate`.
pub fn simulate(options: &SimulateOptions) -> anyhow::Result<Answer> {
    let scenario = input::scenario(&options.scenario.scenario)?;
    let step = lower(&scenario);
    let trace = sim::simulate(&step, &scenario);
    let figures = step_report(&step, &scenario, &trace);
    export(&options.export, &trace)?;
    print(&if options.export.json {
        report::report_json(&scenario, &step, &trace, &figures)
    } else {
        report::report_table(&scenario, &trace, &figures)
    })?;
    Ok(if figures.fit.fits { Answer::Yes } else { Answer::No })
}

/// `shardlab explain`.
pub fn explain(options: &ExplainOptions) -> anyhow::Result<Answer> {
    let scenario = input::scenario(&options.scenario.scenario)?;
    let step = lower(&scenario);
    let figures = step_report(&step, &scenario, &sim::simulate(&step, &scenario));
    let write = if options.json { report::explain_json } else { report::explain_table };
    print(&write(&step, &scenario, &figures))?;
    Ok(Answer::Yes)
}

/// `shardlab what-if`.
pub fn what_if(options: &WhatIfOptions) -> anyhow::Result<Answer> {
    let factor = options.factor;
    anyhow::ensure!((1.0..=1e3).contains(&factor), "--factor must be a number from 1 to 1000, but is {factor}");
    let scenario = input::scenario(&options.scenario.scenario)?;
    let step = lower(&scenario);
    let trace = sim::simulate(&step, &scenario);
    let bar = progress(100);
    let changes = analysis::what_if(&step, &scenario, &trace, factor, &mut percentage(&bar));
    bar.finish_and_clear();
    let write = if options.json { report::what_if_json } else { report::what_if_table };
    print(&write(&scenario, trace.step_time, factor, &changes, &sim::slack(&step, &scenario)))?;
    Ok(Answer::Yes)
}

/// `shardlab execute`.
pub fn execute(options: &ExecuteOptions) -> anyhow::Result<Answer> {
    let word = &options.scenario.scenario;
    let mut file = input::scenario_file(word)?;
    file.run.pool = options.pool.map_or(file.run.pool, PoolChoice::name);
    file.run.pool_budget = options.pool_budget.or(file.run.pool_budget);
    let scenario = input::checked(word, &file)?;
    let graph = exec::executable_graph(&scenario)?;
    let backend = open(options.backend.backend)?;
    let steps = options.steps.unwrap_or(scenario.run().steps).max(1);
    let mut trainer = block_on(Trainer::of_graph(&scenario, graph, backend))?;
    if let Some(file) = &options.tune {
        tuning::tune(&mut trainer, file)?;
    }
    let results = train(&mut trainer, steps)?;
    let last = results.last().context("no step was trained")?;
    export(&options.export, &last.trace)?;
    print(&if options.export.json {
        report::execution_json(&scenario, trainer.step_graph(), trainer.backend(), &results)
    } else {
        execution_table(&scenario, &trainer, &results)
    })?;
    Ok(Answer::Yes)
}

/// `shardlab pool`.
pub fn pool(options: &PoolOptions) -> anyhow::Result<Answer> {
    let scenario = input::scenario(&options.scenario.scenario)?;
    let rows = exec::forecast(&lower(&scenario), options.budget)?;
    if let Some(path) = &options.csv {
        write_file(path, &report::pool_csv(&rows))?;
    }
    print(&if options.json { report::pool_json(&rows) } else { report::pool_table(scenario.name(), &rows) })?;
    Ok(Answer::Yes)
}

fn train(trainer: &mut Trainer, steps: u32) -> anyhow::Result<Vec<StepResult>> {
    let bar = progress(steps.into());
    let mut results: Vec<StepResult> = Vec::new();
    for _ in 0..steps {
        let result = block_on(trainer.step())?;
        bar.set_message(format!("loss {:.4}", result.loss));
        bar.inc(1);
        // Only the last step's trace is reported; thousands of them would fill the memory.
        if let Some(previous) = results.last_mut() {
            previous.trace.spans = Vec::new();
            previous.trace.memory = Vec::new();
        }
        results.push(result);
    }
    bar.finish_and_clear();
    Ok(results)
}

fn execution_table(scenario: &Scenario, trainer: &Trainer, results: &[StepResult]) -> String {
    let (mut text, backend, ranks) = (String::new(), trainer.backend(), scenario.mesh().ranks());
    let _ = writeln!(text, "{}   [executed on this device; {ranks} rank(s) share it]", scenario.name());
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
    let _ = writeln!(text, "  matrix products of a step, by shader: {}", ways.join(", "));
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

/// `shardlab compare`.
pub fn compare(options: &CompareOptions) -> anyhow::Result<Answer> {
    let scenario = input::scenario(&options.scenario.scenario)?;
    exec::executable_graph(&scenario)?;
    let backend = open(options.backend.backend)?;
    let bar = progress(100);
    let comparison = block_on(predict_and_execute(&scenario, backend, options.steps, &mut percentage(&bar)))?;
    bar.finish_and_clear();
    if let Some(path) = &options.csv {
        anyhow::ensure!(
            !options.json || path != Path::new("-"),
            "--json and --csv - cannot both go to standard output"
        );
        write_file(path, &report::comparison_csv(&comparison))?;
    }
    print(&if options.json { report::comparison_json(&comparison) } else { report::comparison_table(&comparison) })?;
    Ok(if comparison.memory_agrees() { Answer::Yes } else { Answer::No })
}

/// `shardlab calibrate`.
pub fn calibrate(options: &CalibrateOptions) -> anyhow::Result<Answer> {
    let scenario = input::scenario(&options.scenario.scenario)?;
    let mut backend = open(options.backend.backend)?;
    let measured = block_on(exec::calibrate(&mut backend, scenario.micro_batch_tokens()))?;
    if options.json {
        let mut document = serde_json::to_value(&measured)?;
        if let Some(table) = document.as_object_mut() {
            table.insert("schema_version".to_owned(), report::SCHEMA_VERSION.into());
        }
        print(&format!("{document:#}\n"))?;
        return Ok(Answer::Yes);
    }
    if options.device {
        let file = measured.device_file(scenario.mesh().ranks(), scenario.device_memory());
        let cluster = serde_json::json!({ "cluster": { "nodes": 1, "custom": file } });
        print(&toml::to_string(&cluster)?)?;
        return Ok(Answer::Yes);
    }
    let info = &measured.backend;
    print(&format!(
        "{} ({}), timed by {}\n  matmul (side {})   {}\n  matmul in bf16     {}\n  attention          {}\n  elementwise        {}\n  memory bandwidth   {}\n  copy bandwidth     {}\n  kernel call        {}\n  workgroups         {} at once, {} each to start and end\n  words              {:.3e} read or written per second\n  halves             {:.3e} read or written per second\n  matmul depth       {:.0}\n",
        info.name,
        info.detail,
        info.timing,
        measured.matmul_side,
        measured.matmul,
        measured.half_matmul,
        measured.attention,
        measured.vector,
        measured.memory_bandwidth,
        measured.copy_bandwidth,
        measured.launch_overhead,
        measured.shaders.at_once,
        measured.shaders.workgroup,
        measured.shaders.words_per_second,
        measured.shaders.halves_per_second,
        measured.shaders.depth
    ))?;
    Ok(Answer::Yes)
}

/// The bytes of a file, or of standard input for `-`.
fn table(file: &Path) -> anyhow::Result<Vec<u8>> {
    let name = file.display().to_string();
    if name != "-" {
        return std::fs::read(file).with_context(|| format!("cannot open `{name}`"));
    }
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes)?;
    Ok(bytes)
}

/// The measurements in a table, of the given qualities.
fn measurements(file: &Path, bytes: &[u8], quality: Option<&str>) -> anyhow::Result<Vec<validate::Measurement>> {
    let mut rows = validate::read(bytes).with_context(|| file.display().to_string())?;
    if let Some(letters) = quality {
        rows.retain(|row| !row.quality.is_empty() && letters.contains(row.quality.as_str()));
    }
    Ok(rows)
}

/// `shardlab fit`.
pub fn fit(options: &FitOptions) -> anyhow::Result<Answer> {
    let rows = measurements(&options.file, &table(&options.file)?, Some(&options.quality))?;
    let bar = progress(100);
    let fitted = validate::fit(&rows, &mut percentage(&bar));
    bar.finish_and_clear();
    let text = validate::calibration_toml(&fitted);
    match &options.out {
        Some(path) => write_file(path, &text)?,
        None => print(&text)?,
    }
    Ok(if fitted.is_empty() { Answer::No } else { Answer::Yes })
}

/// `shardlab validate`.
pub fn validate(options: &ValidateOptions) -> anyhow::Result<Answer> {
    let bytes = table(&options.file)?;
    if validate::is_collectives(&bytes) {
        return validate_collectives(options, &bytes);
    }
    let measurements = measurements(&options.file, &bytes, options.quality.as_deref())?;
    let bar = progress(measurements.len() as u64);
    let mut rows = Vec::new();
    for measurement in &measurements {
        rows.push(validate::predict(measurement));
        bar.inc(1);
    }
    bar.finish_and_clear();
    print(&if options.json { report::validation_json(&rows) } else { validate::validation_table(&rows) })?;
    Ok(Answer::Yes)
}

fn validate_collectives(options: &ValidateOptions, bytes: &[u8]) -> anyhow::Result<Answer> {
    let rows = validate::read_collectives(bytes).with_context(|| options.file.display().to_string())?;
    let outcomes: Vec<_> = rows.iter().map(validate::predict_collective).collect();
    print(&if options.json {
        report::collectives_json(&rows, &outcomes)
    } else {
        validate::collectives_table(&outcomes)
    })?;
    Ok(Answer::Yes)
}

/// Opens the backend that was asked for; `auto` falls back to the CPU and says so.
pub fn open(choice: BackendChoice) -> anyhow::Result<Backend> {
    if let Some(kind) = choice.kind() {
        return Ok(block_on(exec::open(kind))?);
    }
    match block_on(exec::open(BackendKind::Wgpu)) {
        Ok(backend) => Ok(backend),
        Err(error) => {
            note(&format!("shardlab: {error}; kernels run on the CPU"));
            Ok(block_on(exec::open(BackendKind::Cpu))?)
        }
    }
}

/// `shardlab graph`.
pub fn graph(options: &GraphOptions) -> anyhow::Result<Answer> {
    let step = lower(&input::scenario(&options.scenario.scenario)?);
    print(&match options.format {
        GraphFormat::Dot => dot(&step),
        GraphFormat::Json => format!("{}\n", serde_json::to_string(&step.document())?),
    })?;
    Ok(Answer::Yes)
}

/// `shardlab presets`.
pub fn presets(show: Option<&str>, json: bool) -> anyhow::Result<Answer> {
    if let Some(name) = show {
        // An unknown name is refused with the nearest known one.
        scenario::preset_file(name)?;
        let text = scenario::presets().iter().find(|preset| preset.name == name).map_or("", |preset| preset.text);
        print(text)?;
        return Ok(Answer::Yes);
    }
    if json {
        print(&format!("{:#}\n", presets_json()?))?;
        return Ok(Answer::Yes);
    }
    let mut text = String::new();
    for preset in scenario::presets() {
        let description = scenario::preset_file(preset.name)?.description.unwrap_or_default();
        let mark = if preset.executable { "execute" } else { "simulate" };
        let _ = writeln!(text, "{:<24} {mark:<9} {description}", preset.name);
    }
    print(&text)?;
    Ok(Answer::Yes)
}

fn presets_json() -> anyhow::Result<serde_json::Value> {
    let mut list = Vec::new();
    for preset in scenario::presets() {
        let file = scenario::preset_file(preset.name)?;
        let (name, description) = (preset.name, &file.description);
        list.push(serde_json::json!({ "name": name, "executable": preset.executable, "description": description }));
    }
    Ok(serde_json::json!({ "schema_version": report::SCHEMA_VERSION, "presets": list }))
}

/// `shardlab schema`.
pub fn schema() -> anyhow::Result<Answer> {
    print(&format!("{:#}\n", scenario::schema()))?;
    Ok(Answer::Yes)
}

/// `shardlab completions`.
pub fn completions(shell: Shell) -> anyhow::Result<Answer> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "shardlab", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(Answer::Yes)
}

/// `shardlab gui`.
pub fn gui() -> anyhow::Result<Answer> {
    #[cfg(feature = "gui")]
    {
        shardlab::run_window().map_err(|error| anyhow::anyhow!("the window could not be opened: {error}"))?;
        Ok(Answer::Yes)
    }
    #[cfg(not(feature = "gui"))]
    anyhow::bail!(
        "this program was built without a window; build it with the feature `gui`, or use `shardlab simulate`"
    )
}
