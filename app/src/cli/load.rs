//! `shardlab load`.

use pollster::block_on;
use shardlab_engine::compare::{LoadingOptions, measure_loading};
use shardlab_engine::exec::{self, Trainer};
use shardlab_engine::report;
use shardlab_engine::units::Bytes;

use super::args::LoadOptions;
use super::cache::policy;
use super::commands::open;
use super::output::{percentage, print, progress};
use super::{Answer, input};

/// Trains a run that is fed from disk.
pub fn load(options: &LoadOptions) -> anyhow::Result<Answer> {
    if let Some(limit) = options.limit {
        anyhow::ensure!(limit.0 >= 1.0, "--limit must be at least 1 B/s, for example 20MB/s");
    }
    let scenario = input::scenario(&options.scenario.scenario)?;
    let graph = exec::executable_graph(&scenario)?;
    let input = scenario.data().input;
    let policy = match &options.policy {
        Some(name) => policy(name)?,
        None => input.map(|input| input.cache.policy).unwrap_or_default(),
    };
    let mut trainer = block_on(Trainer::of_graph(&scenario, graph, open(options.backend.backend)?))?;
    let loading = LoadingOptions {
        steps: options.steps,
        count: options.count,
        bytes: options.bytes,
        workers: options.workers.or(input.map(|input| input.loader.workers)).unwrap_or(2),
        prefetch: options.prefetch.or(input.map(|input| input.loader.prefetch)).unwrap_or(2),
        limit: options.limit,
        policy,
        capacity: options.capacity.or(input.map(|input| input.cache.capacity)).unwrap_or(Bytes(1)),
    };
    let bar = progress(100);
    let measured = block_on(measure_loading(&scenario, &mut trainer, &options.folder, loading, &mut percentage(&bar)))?;
    bar.finish_and_clear();
    let name = scenario.name();
    print(&if options.json { report::loading_json(name, &measured) } else { report::loading_table(name, &measured) })?;
    Ok(Answer::Yes)
}
