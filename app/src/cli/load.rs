//! `shardlab load`.

use pollster::block_on;
use shardlab_engine::compare::{LoadingOptions, measure_loading};
use shardlab_engine::exec::{self, Trainer};
use shardlab_engine::report;
use shardlab_engine::scenario::CachePolicy;

use super::args::LoadOptions;
use super::commands::open;
use super::output::{percentage, print, progress};
use super::{Answer, input};

/// Trains a run that is fed from disk.
pub fn load(options: &LoadOptions) -> anyhow::Result<Answer> {
    let scenario = input::scenario(&options.scenario.scenario)?;
    let graph = exec::executable_graph(&scenario)?;
    let policy = CachePolicy::ALL.iter().copied().find(|policy| policy.name() == options.policy);
    let known = || CachePolicy::ALL.iter().map(|policy| policy.name()).collect::<Vec<_>>().join(", ");
    let policy =
        policy.ok_or_else(|| anyhow::anyhow!("--policy is `{}`; expected one of {}", options.policy, known()))?;
    let mut trainer = block_on(Trainer::of_graph(&scenario, graph, open(options.backend.backend)?))?;
    let loading = LoadingOptions {
        steps: options.steps,
        count: options.count,
        bytes: options.bytes,
        workers: options.workers,
        prefetch: options.prefetch,
        limit: options.limit,
        policy,
        capacity: options.capacity,
    };
    let bar = progress(100);
    let measured = block_on(measure_loading(&scenario, &mut trainer, &options.folder, loading, &mut percentage(&bar)))?;
    bar.finish_and_clear();
    let name = scenario.name();
    print(&if options.json { report::loading_json(name, &measured) } else { report::loading_table(name, &measured) })?;
    Ok(Answer::Yes)
}
