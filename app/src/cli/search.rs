//! `shardlab search`.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Context as _;
use serde_json::Value;
use shardlab_engine::report;
use shardlab_engine::scenario::{ScenarioFile, check};
use shardlab_engine::search::{Axis, Goal, Options, Outcome, Progress, Saved, Space, default_space, search as find};

use super::args::{GoalChoice, SearchOptions};
use super::output::{note, print, progress, write_file};
use super::{Answer, input};

/// Searches the space around a scenario.
pub fn search(options: &SearchOptions) -> anyhow::Result<Answer> {
    let file = input::scenario_file(&options.scenario.scenario)?;
    let space = Space::new(&file, axes_of(&options.vary, &file)?)?;
    let saved = options.state.as_deref().map_or_else(|| Ok(Saved::default()), saved)?;
    if !saved.simulated.is_empty() && saved.combinations != space.len() {
        anyhow::bail!("the state is of another space ({} strategies, not {})", saved.combinations, space.len());
    }
    let started = Instant::now();
    let outcome = run(&space, options, saved)?;
    let seconds = started.elapsed().as_secs_f64();
    if let Some(path) = &options.state {
        fs::write(path, serde_json::to_string(&outcome.saved)?)
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    if let (Some(path), Some(best)) = (&options.write_best, outcome.found.first()) {
        write_file(path, &toml::to_string(&space.file(best.index))?)?;
    }
    print(&if options.json {
        report::search_json(&space, &outcome, seconds)
    } else {
        report::search_table(&space, &outcome, seconds)
    })?;
    Ok(if outcome.found.is_empty() { Answer::No } else { Answer::Yes })
}

/// Ctrl-C ends the search; what was found until then is printed and kept.
fn run(space: &Space, options: &SearchOptions, saved: Saved) -> anyhow::Result<Outcome> {
    let stop = Arc::new(AtomicBool::new(false));
    let handler = Arc::clone(&stop);
    ctrlc::set_handler(move || handler.store(true, Ordering::Relaxed)).context("cannot listen for Ctrl-C")?;
    let bar = progress(space.len());
    let tell = |progress: Progress| {
        bar.set_position(progress.decided);
        let best = progress.best.map_or_else(String::new, |best| format!(", best {best}"));
        bar.set_message(format!("{} simulated{best}", progress.simulated));
        !stop.load(Ordering::Relaxed)
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let wanted = Options {
        goal: if options.goal == GoalChoice::Pareto { Goal::Pareto } else { Goal::Time },
        count: options.count,
        may_overflow: options.allow_overflow,
        workers: options.workers.unwrap_or(cores).max(1),
        prune: !options.exhaustive,
        samples: options.samples,
    };
    let outcome = find(space, &wanted, saved, &tell);
    bar.finish_and_clear();
    if !outcome.complete {
        note("shardlab: stopped; the result is of what was decided until then");
    }
    Ok(outcome)
}

fn saved(path: &Path) -> anyhow::Result<Saved> {
    if !path.exists() {
        return Ok(Saved::default());
    }
    let text = fs::read_to_string(path).with_context(|| format!("cannot open `{}`", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("`{}` is no state of a search", path.display()))
}

/// What was asked to vary, in words such as `strategy.tensor_parallel=1,2,4`, or the fields that people vary first.
pub fn axes_of(vary: &[String], file: &ScenarioFile) -> anyhow::Result<Vec<Axis>> {
    if vary.is_empty() {
        return Ok(default_space(&check(file)?));
    }
    vary.iter().map(|text| axis(text)).collect()
}

/// `strategy.tensor_parallel=1,2,4`.
fn axis(text: &str) -> anyhow::Result<Axis> {
    let (path, values) = text
        .split_once('=')
        .with_context(|| format!("`{text}` has no `=`; expected for example strategy.tensor_parallel=1,2,4"))?;
    let values = values.split(',').map(str::trim).filter(|word| !word.is_empty()).map(value).collect();
    Ok(Axis { path: path.trim().to_owned(), values })
}

/// A number, `true`, `false`, or a text.
fn value(word: &str) -> Value {
    serde_json::from_str(word).unwrap_or_else(|_| Value::from(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_read_as_people_write_them() {
        let axis = axis("strategy.precision = bf16, fp8").expect("an axis");
        assert_eq!(axis.path, "strategy.precision");
        assert_eq!(axis.values, ["bf16", "fp8"]);
        assert_eq!(super::axis("strategy.zero_stage=0,1").expect("an axis").values, [0, 1]);
        assert!(super::axis("zero_stage").expect_err("no values").to_string().contains('='));
    }
}
