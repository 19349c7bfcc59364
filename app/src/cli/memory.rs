//! `shardlab memory`.

use std::path::Path;

use anyhow::Context as _;
use shardlab_engine::analysis::{self, DeviceMemory, replayed, step_report};
use shardlab_engine::graph::lower;
use shardlab_engine::report::{self, MemoryFindings};
use shardlab_engine::scenario::AllocatorName;
use shardlab_engine::search::{treatments, ways_to_fit};
use shardlab_engine::sim::simulate;

use super::args::{AllocatorChoice, MemoryOptions};
use super::output::{percentage, print, progress, write_file};
use super::{Answer, input};

/// Kinds of changes that are looked for.
const WAYS: usize = 3;

/// Plays the memory of a step.
pub fn memory(options: &MemoryOptions) -> anyhow::Result<Answer> {
    if let Some(path) = &options.snapshot {
        return snapshot(options, path);
    }
    let mut file = input::scenario_file(&options.scenario)?;
    if let Some(allocator) = options.allocator.map(AllocatorChoice::name) {
        file.run.allocator = allocator;
    }
    let scenario = input::checked(&options.scenario, &file)?;
    let step = lower(&scenario);
    let trace = simulate(&step, &scenario);
    let stages = step.stages.len();
    if let Some(stage) = options.stage.filter(|&stage| stage as usize >= stages) {
        anyhow::bail!("--stage is {stage}; the scenario has {stages} pipeline stages, numbered from 0");
    }
    let stage = options.stage.unwrap_or_else(|| step_report(&step, &scenario, &trace).fit.stage);
    let (memory, chosen) = (DeviceMemory::of(&step, &scenario, stage), scenario.run().allocator);
    let rows: Vec<_> = AllocatorName::ALL.into_iter().map(|allocator| memory.row(&step, allocator)).collect();
    let (fits, ..) = analysis::fits(&step, &scenario, chosen);
    let activations = options.activations.then(|| treatments(&file)).transpose()?;
    let activations: Vec<_> = activations.into_iter().flatten().collect();
    let bar = progress(100);
    let ways = (options.ways || !fits).then(|| ways_to_fit(&file, WAYS, &mut percentage(&bar))).transpose()?;
    bar.finish_and_clear();
    if let Some(path) = &options.csv {
        write_file(path, &report::allocators_csv(&rows))?;
    }
    if let Some(path) = &options.map_csv {
        let picture = memory.picture(&step, &trace, memory.map(chosen));
        write_file(path, &report::memory_map_csv(&picture))?;
    }
    let found = MemoryFindings {
        name: scenario.name(),
        chosen,
        micro_batches: step.micro_batches,
        memory: &memory,
        rows: &rows,
        treatments: &activations,
        ways: ways.as_ref(),
    };
    print(&if options.json { report::device_memory_json(&found) } else { report::device_memory_table(&found) })?;
    Ok(if fits { Answer::Yes } else { Answer::No })
}

/// Opens a snapshot of PyTorch, and plays what it asked for on every allocator.
fn snapshot(options: &MemoryOptions, path: &Path) -> anyhow::Result<Answer> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).with_context(|| format!("cannot open `{name}`"))?;
    let (picture, device) = report::memory_snapshot(&bytes).with_context(|| name.clone())?;
    let rows = replayed(&picture);
    if let Some(path) = &options.csv {
        write_file(path, &report::allocators_csv(&rows))?;
    }
    if let Some(path) = &options.map_csv {
        write_file(path, &report::memory_map_csv(&picture))?;
    }
    let write = if options.json { report::snapshot_json } else { report::snapshot_table };
    print(&write(&name, device, &picture, &rows))?;
    Ok(if picture.map.failure.is_some() { Answer::No } else { Answer::Yes })
}
