//! `shardlab goodput`.

use anyhow::Context as _;
use shardlab_engine::graph::lower;
use shardlab_engine::{analysis, report, sim};

use super::args::GoodputOptions;
use super::output::{print, write_file};
use super::{Answer, input};

/// Plays a long run with its checkpoints and failures.
pub fn goodput(options: &GoodputOptions) -> anyhow::Result<Answer> {
    let scenario = input::scenario(&options.scenario)?;
    let step = sim::step_time(&lower(&scenario), &scenario);
    let found = analysis::goodput(&scenario, step).with_context(|| {
        format!(
            "`{}` says nothing of checkpoints or failures: add a table [checkpoint] or [reliability]; an empty one takes what \
is known of a large run",
            options.scenario
        )
    })?;
    if let Some(path) = &options.csv {
        write_file(path, &report::goodput_csv(&found))?;
    }
    print(&if options.json { report::goodput_json(&found) } else { report::goodput_table(scenario.name(), &found) })?;
    Ok(Answer::Yes)
}
