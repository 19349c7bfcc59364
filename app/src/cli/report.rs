//! `shardlab report`, `shardlab network` and `shardlab roofline`.

use std::path::Path;

use shardlab_engine::analysis::{StepReport, network, step_report, step_roofline};
use shardlab_engine::graph::{StepGraph, lower};
use shardlab_engine::report::{self, Comparison, PageRun, Variant};
use shardlab_engine::scenario::{Scenario, ScenarioFile};
use shardlab_engine::search::{AdviceSearch, attribution, differing_settings};
use shardlab_engine::sim::simulate;
use shardlab_engine::trace::Trace;

use super::args::{NetworkOptions, ReportOptions, RooflineOptions};
use super::output::{percentage, print, progress, write_file};
use super::{Answer, input};

/// Runs on one page, at most.
const MOST: usize = 9;
/// Changes that are listed.
const ADVICE: usize = 12;

/// A scenario, simulated.
struct Simulated {
    file: ScenarioFile,
    scenario: Scenario,
    step: StepGraph,
    trace: Trace,
    report: StepReport,
}

impl Simulated {
    fn of(word: &str) -> anyhow::Result<Self> {
        let file = input::scenario_file(word)?;
        let scenario = input::checked(word, &file)?;
        let step = lower(&scenario);
        let trace = simulate(&step, &scenario);
        let report = step_report(&step, &scenario, &trace);
        Ok(Self { file, scenario, step, trace, report })
    }

    fn page(&self) -> PageRun<'_> {
        let Self { file, scenario, step, trace, report } = self;
        PageRun { file, scenario, step, trace, report }
    }
}

/// Writes a page about one scenario, or several beside the first.
pub fn report(options: &ReportOptions) -> anyhow::Result<Answer> {
    let count = options.scenarios.len();
    anyhow::ensure!(count <= MOST, "expected a baseline and at most {} variants, not {count}", MOST - 1);
    let runs = options.scenarios.iter().map(|word| Simulated::of(word)).collect::<anyhow::Result<Vec<_>>>()?;
    let pages: Vec<PageRun<'_>> = runs.iter().map(Simulated::page).collect();
    let bar = progress(100);
    let mut advice = Vec::new();
    if let ([run], true) = (runs.as_slice(), options.advise) {
        let mut search = AdviceSearch::new(&run.file)?;
        let mut tell = percentage(&bar);
        while tell(search.share()) && search.advance() {}
        advice = search.found().iter().take(ADVICE).cloned().collect();
    }
    let variants: Vec<Variant> = runs.iter().map(|run| report::variant_of(&run.scenario, &run.report)).collect();
    let settings = differing_settings(&runs.iter().map(|run| &run.file).collect::<Vec<_>>());
    let mut causes = Vec::new();
    for run in runs.iter().skip(1).filter(|_| options.why) {
        causes.push(attribution(&runs[0].file, &run.file, &mut percentage(&bar)));
    }
    bar.finish_and_clear();
    let comparison = Comparison { variants: &variants, settings: &settings, causes: &causes };
    let page = report::html_report(&pages, (count > 1).then_some(&comparison), &advice);
    write_file(&options.out, &page)?;
    Ok(Answer::Yes)
}

/// Prints what a step sends where.
pub fn network_of(options: &NetworkOptions) -> anyhow::Result<Answer> {
    let both = options.json && options.csv.as_deref() == Some(Path::new("-"));
    anyhow::ensure!(!both, "--json and --csv - cannot both go to standard output");
    let run = Simulated::of(&options.scenario.scenario)?;
    let group = run.trace.group_of_stage(run.report.critical_stage).unwrap_or(0);
    let found = network(&run.step, &run.scenario, &run.trace, group);
    if let Some(path) = &options.csv {
        write_file(path, &report::traffic_csv(&found))?;
        if path == Path::new("-") {
            return Ok(Answer::Yes);
        }
    }
    let write = if options.json { report::network_json } else { report::network_table };
    print(&write(run.scenario.name(), &found))?;
    Ok(Answer::Yes)
}

/// Places the kernels of a step under the roofs of its device.
pub fn roofline_of(options: &RooflineOptions) -> anyhow::Result<Answer> {
    let both = options.json && options.csv.as_deref() == Some(Path::new("-"));
    anyhow::ensure!(!both, "--json and --csv - cannot both go to standard output");
    let run = Simulated::of(&options.scenario.scenario)?;
    let stage = options.stage.unwrap_or(run.report.critical_stage);
    let stages = run.step.stages.len();
    anyhow::ensure!((stage as usize) < stages, "there is no stage {stage}: the pipeline has {stages}, from 0");
    let found = step_roofline(&run.step, &run.scenario, &run.trace, stage, None);
    if let Some(path) = &options.csv {
        write_file(path, &report::roofline_csv(&found))?;
        if path == Path::new("-") {
            return Ok(Answer::Yes);
        }
    }
    let name = run.scenario.name();
    let text = if options.json {
        report::roofline_json(name, &found)
    } else {
        report::roofline_table(name, &found, options.top)
    };
    print(&text)?;
    Ok(Answer::Yes)
}
