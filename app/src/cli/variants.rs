//! `shardlab compare` of several scenarios, and `shardlab advise`.

use std::path::Path;

use shardlab_engine::analysis::step_report;
use shardlab_engine::graph::lower;
use shardlab_engine::report::{self, Comparison, Variant};
use shardlab_engine::scenario::ScenarioFile;
use shardlab_engine::search::{AdviceSearch, Effect, attribution, changed, differing_settings};
use shardlab_engine::sim::simulate;

use super::args::{AdviseOptions, CompareOptions};
use super::output::{note, percentage, print, progress, write_file};
use super::{Answer, input};

/// Scenarios that are shown side by side, at most.
const MOST: usize = 9;

/// Simulates several scenarios and puts them side by side; the first is the baseline.
pub fn compare(options: &CompareOptions) -> anyhow::Result<Answer> {
    let words = &options.scenarios;
    anyhow::ensure!(words.len() <= MOST, "expected a baseline and at most {} variants, not {}", MOST - 1, words.len());
    anyhow::ensure!(!options.ops, "--ops needs a step that is executed: give one scenario");
    let bar = progress(words.len() as u64);
    let (mut files, mut variants) = (Vec::new(), Vec::new());
    for word in words {
        let file = input::scenario_file(word)?;
        variants.push(variant(word, &file)?);
        files.push(file);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let settings = differing_settings(&files.iter().collect::<Vec<_>>());
    let mut causes = Vec::new();
    for file in files.iter().skip(1).filter(|_| options.why) {
        let bar = progress(100);
        causes.push(attribution(&files[0], file, &mut percentage(&bar)));
        bar.finish_and_clear();
    }
    if let Some(path) = &options.csv {
        let both = options.json && path == Path::new("-");
        anyhow::ensure!(!both, "--json and --csv - cannot both go to standard output");
        write_file(path, &report::variants_csv(&variants))?;
    }
    let comparison = Comparison { variants: &variants, settings: &settings, causes: &causes };
    let write = if options.json { report::variants_json } else { report::variants_table };
    print(&write(&comparison))?;
    Ok(Answer::Yes)
}

fn variant(word: &str, file: &ScenarioFile) -> anyhow::Result<Variant> {
    let scenario = input::checked(word, file)?;
    let step = lower(&scenario);
    let figures = step_report(&step, &scenario, &simulate(&step, &scenario));
    Ok(report::variant_of(&scenario, &figures))
}

/// `shardlab advise`.
pub fn advise(options: &AdviseOptions) -> anyhow::Result<Answer> {
    let word = &options.scenario.scenario;
    let file = input::scenario_file(word)?;
    let scenario = input::checked(word, &file)?;
    let mut search = AdviceSearch::new(&file)?;
    let bar = progress(100);
    let mut tell = percentage(&bar);
    while tell(search.share()) && search.advance() {}
    bar.finish_and_clear();
    let found = &search.found()[..search.found().len().min(options.count.max(1))];
    let together = search.together();
    if let (Some(path), Some(best)) =
        (&options.write_best, together.or(found.iter().find(|one| one.effect == Effect::Same)))
    {
        if let Some(file) = changed(&file, &best.way.edits) {
            write_file(path, &toml::to_string(&file)?)?;
        }
    } else if options.write_best.is_some() {
        note("shardlab: nothing that was tried is better; no file was written");
    }
    if let Some(path) = &options.csv {
        write_file(path, &report::advice_csv(found))?;
    }
    let write = if options.json { report::advice_json } else { report::advice_table };
    print(&write(scenario.name(), search.now(), found, together))?;
    Ok(if found.is_empty() { Answer::No } else { Answer::Yes })
}
