//! The commands, one function each.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;
use pollster::block_on;
use shardlab_engine::analysis::step_report;
use shardlab_engine::compare::predict_and_execute;
use shardlab_engine::exec::{self, Backend, BackendKind};
use shardlab_engine::graph::{dot, lower};
use shardlab_engine::scenario;
use shardlab_engine::{analysis, report, sim, validate};

use super::args::{
    Arguments, BackendChoice, CalibrateOptions, CompareOptions, ExplainOptions, FitOptions, GraphFormat, GraphOptions,
    PoolOptions, SimulateOptions, ValidateOptions, WhatIfOptions,
};
use super::output::{export, note, percentage, print, progress, write_file};
use super::{Answer, input};

/// `shardlab simulate`.
pub fn simulate(options: &SimulateOptions) -> anyhow::Result<Answer> {
    let scenario = input::scenario(&options.scenario.scenario)?;
    let step = lower(&scenario);
    let trace = sim::simulate(&step, &scenario);
    let figures = step_report(&step, &scenario, &trace);
    export(&options.export, &trace, &|| figures.clone())?;
    print(&if options.export.json {
        report::report_json(&scenario, &step, &trace, &figures)
    } else {
        report::report_table(&scenario, &trace, &figures)
    })?;
    Ok(if figures.fit.fits { Answer::Yes } else { Answer::No })
}

/// `shardlab link`.
pub fn share(word: &str, view: &str) -> anyhow::Result<Answer> {
    let file = input::scenario_file(word)?;
    input::checked(word, &file)?;
    print(&format!("#{}\n", scenario::link(&file, view)?))?;
    Ok(Answer::Yes)
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

/// `shardlab compare`.
pub fn compare(options: &CompareOptions) -> anyhow::Result<Answer> {
    let [word] = options.scenarios.as_slice() else { return super::variants::compare(options) };
    anyhow::ensure!(!options.why, "--why needs a baseline and a variant: give two scenarios");
    let scenario = input::scenario(word)?;
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
        let csv = if options.ops { report::op_comparison_csv } else { report::comparison_csv };
        write_file(path, &csv(&comparison))?;
    }
    print(&match (options.json, options.ops) {
        (true, _) => report::comparison_json(&comparison),
        (false, true) => report::comparison_table(&comparison) + "\n" + &report::op_comparison_table(&comparison),
        (false, false) => report::comparison_table(&comparison),
    })?;
    Ok(if comparison.memory_agrees() { Answer::Yes } else { Answer::No })
}

/// `shardlab calibrate`.
pub fn calibrate(options: &CalibrateOptions) -> anyhow::Result<Answer> {
    let scenario = input::scenario(&options.scenario.scenario)?;
    let mut backend = open(options.backend.backend)?;
    let measured = block_on(exec::calibrate(&mut backend, exec::Measured::of(&scenario)))?;
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
    print(&report::calibration_table(&measured))?;
    Ok(Answer::Yes)
}

/// The bytes of a file, or of standard input for `-`.
pub fn table(file: &Path) -> anyhow::Result<Vec<u8>> {
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
    open_by(choice, &|kind| block_on(exec::open(kind)))
}

/// The same by another way to open a backend of a kind.
pub fn open_by(
    choice: BackendChoice,
    open: &dyn Fn(BackendKind) -> Result<Backend, exec::ExecError>,
) -> anyhow::Result<Backend> {
    if let Some(kind) = choice.kind() {
        return Ok(open(kind)?);
    }
    match open(BackendKind::Wgpu) {
        Ok(backend) => Ok(backend),
        Err(error) => {
            note(&format!("shardlab: {error}; kernels run on the CPU"));
            Ok(open(BackendKind::Cpu)?)
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
