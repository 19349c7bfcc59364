//! `shardlab checkpoint`.

use std::path::{Path, PathBuf};

use pollster::block_on;
use shardlab_engine::compare::measure_checkpoints;
use shardlab_engine::exec::{self, Trainer};
use shardlab_engine::report;

use super::args::CheckpointOptions;
use super::commands::open;
use super::output::{percentage, print, progress, write_file};
use super::{Answer, input};

/// A folder that goes when it is no longer needed.
struct Passing(Option<PathBuf>);

impl Drop for Passing {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            std::fs::remove_dir_all(path).ok();
        }
    }
}

/// Saves and loads a run's checkpoint in every form.
pub fn checkpoint(options: &CheckpointOptions) -> anyhow::Result<Answer> {
    let scenario = input::scenario(&options.scenario.scenario)?;
    let graph = exec::executable_graph(&scenario)?;
    let backend = open(options.backend.backend)?;
    let mut trainer = block_on(Trainer::of_graph(&scenario, graph, backend))?;
    // Moments are zero before the first step, and zeros are too easy to compress.
    block_on(trainer.step())?;
    let passing = Passing(options.folder.is_none().then(|| {
        let name = format!(".shardlab-checkpoints-{}", std::process::id());
        std::env::current_dir().unwrap_or_default().join(name)
    }));
    let folder: &Path = options.folder.as_deref().or(passing.0.as_deref()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let bar = progress(100);
    let found = block_on(measure_checkpoints(&scenario, &mut trainer, folder, options.times, &mut percentage(&bar)))?;
    bar.finish_and_clear();
    if let Some(path) = &options.csv {
        write_file(path, &report::checkpoint_csv(&found))?;
    }
    let name = scenario.name();
    print(&if options.json { report::checkpoint_json(name, &found) } else { report::checkpoint_table(name, &found) })?;
    Ok(Answer::Yes)
}
