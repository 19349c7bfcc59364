//! `shardlab cache`.

use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use shardlab_engine::analysis::{CacheStudy, Capacities, Feed, StudyOptions, suited};
use shardlab_engine::report;
use shardlab_engine::scenario::{Cache, CachePlacement, CachePolicy, Scenario};
use shardlab_engine::sim::cache::{Requests, TraceFormat, import, requests_of};
use shardlab_engine::trace::Origin;
use shardlab_engine::units::Bytes;

use super::args::{CacheOptions, TraceChoice};
use super::output::{print, progress, write_file};
use super::{Answer, input};

/// Plays what a job reads through caches.
pub fn cache(options: &CacheOptions) -> anyhow::Result<Answer> {
    let study_options = study_options(options)?;
    let (name, study) = study(options, study_options)?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let bar = Mutex::new(progress(100));
    let tell = |done: f32| {
        if let Ok(bar) = bar.lock() {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a percentage")]
            bar.set_position((done * 100.0) as u64);
        }
        true
    };
    let points = study.on_threads(options.threads.unwrap_or(cores), &tell).unwrap_or_default();
    if let Ok(bar) = bar.lock() {
        bar.finish_and_clear();
    }
    let found = study.finish(&points);
    for (path, write) in
        [(&options.csv, report::cache_csv as fn(&_) -> String), (&options.intervals_csv, report::cache_intervals_csv)]
    {
        if let Some(path) = path {
            write_file(path, &write(&found))?;
        }
    }
    print(&if options.json { report::cache_json(&found) } else { report::cache_table(&name, &found) })?;
    Ok(Answer::Yes)
}

fn study_options(options: &CacheOptions) -> anyhow::Result<StudyOptions> {
    let named = options.policies.iter().map(|name| policy(name)).collect::<anyhow::Result<Vec<_>>>()?;
    let default = StudyOptions::default();
    anyhow::ensure!(
        options.capacities.iter().all(|&bytes| bytes > Bytes::ZERO),
        "--capacities must be sizes of at least 1 byte, for example 10GB,20GB"
    );
    let mut capacities = options.capacities.clone();
    capacities.sort();
    Ok(StudyOptions {
        policies: if named.is_empty() { default.policies.clone() } else { named },
        capacities: if capacities.is_empty() { default.capacities.clone() } else { Capacities::These(capacities) },
        one_in: options.exact.then_some(1),
        ..default
    })
}

/// The policy of a name.
pub(super) fn policy(name: &str) -> anyhow::Result<CachePolicy> {
    let known = || CachePolicy::ALL.iter().map(|policy| policy.name()).collect::<Vec<_>>().join(", ");
    let found = CachePolicy::ALL.iter().copied().find(|policy| policy.name() == name);
    found.with_context(|| format!("`{name}` is no policy: expected one of {}", known()))
}

/// What is played: a file's requests, or the scenario's.
fn study(options: &CacheOptions, study_options: StudyOptions) -> anyhow::Result<(String, CacheStudy)> {
    let mut file = input::scenario_file(&options.scenario)?;
    if let (Some(nodes), None) = (options.nodes, &options.trace) {
        // The strategy may be one for other nodes: replicas follow from what there is.
        (file.cluster.nodes, file.strategy.data_parallel) = (nodes, None);
    }
    let scenario = input::checked(&options.scenario, &file)?;
    let (name, requests, origin) = match &options.trace {
        Some(file) => (file.display().to_string(), imported(file, options.format)?, Origin::Imported),
        None => (scenario.name().to_owned(), made(&scenario, options)?, Origin::Modelled),
    };
    let imported = origin == Origin::Imported;
    let nodes = if imported { options.nodes.unwrap_or(requests.nodes()) } else { reading_nodes(&scenario) };
    let known = scenario.data().input.map(|input| input.cache);
    let cache = chosen(options, suited(known, &requests, nodes, origin))?;
    let study = CacheStudy::new(Arc::new(requests), cache, nodes, origin, study_options);
    Ok((name, if imported { study } else { study.feeding(Feed::of(&scenario)) }))
}

fn made(scenario: &Scenario, options: &CacheOptions) -> anyhow::Result<Requests> {
    let input = scenario.data().input.as_ref().with_context(|| {
        format!(
            "`{}` says nothing of what is read: add a table [data.samples] with `count` and `size`, or give a --trace",
            options.scenario
        )
    })?;
    Ok(requests_of(input, reading_nodes(scenario), scenario.run().seed))
}

/// Nodes that read: those beside the cluster where there are some.
fn reading_nodes(scenario: &Scenario) -> u32 {
    let nodes = scenario.cluster().nodes;
    scenario.data().input.map_or(nodes, |input| input.reading_nodes(nodes))
}

/// The cache with what the command line says of it.
fn chosen(options: &CacheOptions, known: Cache) -> anyhow::Result<Cache> {
    let cache = Cache {
        policy: options.policy.as_deref().map_or(Ok(known.policy), policy)?,
        capacity: options.capacity.unwrap_or(known.capacity),
        ..known
    };
    anyhow::ensure!(cache.capacity > Bytes::ZERO, "--capacity must be at least 1 byte, for example 400GB");
    anyhow::ensure!(
        cache.policy != CachePolicy::Belady || cache.placement == CachePlacement::Node,
        "belady needs data.cache.placement = node: no node knows what the others will ask it for"
    );
    Ok(cache)
}

fn imported(file: &Path, format: Option<TraceChoice>) -> anyhow::Result<Requests> {
    let name = file.display().to_string();
    let bytes = std::fs::read(file).with_context(|| format!("cannot open `{name}`"))?;
    let format = match format {
        Some(TraceChoice::Csv) => TraceFormat::Csv,
        Some(TraceChoice::OracleGeneral) => TraceFormat::OracleGeneral,
        None => TraceFormat::of_name(&name),
    };
    import(&bytes, format).with_context(|| name)
}
