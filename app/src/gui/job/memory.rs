//! A step's memory on every allocator, in the background.

use std::sync::Arc;

use shardlab_engine::analysis::{AllocatorRow, DeviceMemory, MemoryPicture, replayed};
use shardlab_engine::exec::ExecError;
use shardlab_engine::report::memory_snapshot;
use shardlab_engine::scenario::{AllocatorName, ScenarioFile};
use shardlab_engine::search::{Treatment, WaySearch, Ways, treatments};
use shardlab_engine::units::Bytes;

use super::{Job, Message, Reporter};
use crate::gui::session::Run;

/// Kinds of changes that are looked for.
const WAYS: usize = 3;

/// What a job has found of memory.
#[derive(Debug)]
pub enum MemoryNews {
    /// Where everything lies on the allocator that was chosen, and what the device has for it.
    Map(MemoryPicture, Bytes),
    /// An allocator's figures.
    Row(AllocatorRow),
    /// A way of treating activations.
    Treatment(Treatment),
    /// What would make it fit, as far as it is known.
    Ways(Ways),
    /// All was looked for.
    Complete,
    /// A snapshot of PyTorch, and what other allocators make of it.
    Snapshot(String, MemoryPicture, Vec<AllocatorRow>),
}

impl Reporter {
    fn news(&self, news: MemoryNews) {
        self.tell(Message::Memory(Box::new(news)));
    }
}

impl Job {
    /// Plays the memory of a stage: where it lies, what every allocator makes of it, and what would change it.
    pub fn memory(context: &egui::Context, run: Arc<Run>, stage: u32) -> Self {
        Self::start(context, "memory", move |reporter| async move {
            if played(&reporter, &run, stage).await && changed(&reporter, &run.file).await {
                reporter.news(MemoryNews::Complete);
            }
            Ok::<(), ExecError>(())
        })
    }

    /// Opens what PyTorch has written.
    pub fn snapshot(context: &egui::Context, name: String, bytes: Vec<u8>) -> Self {
        Self::start(context, "snapshot", move |reporter| async move {
            super::breathe().await;
            match memory_snapshot(&bytes) {
                Ok((picture, _)) => {
                    let rows = replayed(&picture);
                    reporter.news(MemoryNews::Snapshot(name, picture, rows));
                }
                Err(error) => reporter.tell(Message::Failed(format!("{name}: {error}"))),
            }
            Ok::<(), ExecError>(())
        })
    }
}

/// The map and all allocators; false when it was stopped.
async fn played(reporter: &Reporter, run: &Run, stage: u32) -> bool {
    let memory = DeviceMemory::of(&run.step, &run.scenario, stage);
    let map = memory.map(run.scenario.run().allocator);
    reporter.news(MemoryNews::Map(memory.picture(&run.step, &run.trace, map), memory.room()));
    for allocator in AllocatorName::ALL {
        if !reporter.go_on().await {
            return false;
        }
        reporter.news(MemoryNews::Row(memory.row(&run.step, allocator)));
    }
    true
}

/// Ways of treating activations, and changes that make it fit; false when it was stopped.
async fn changed(reporter: &Reporter, file: &ScenarioFile) -> bool {
    let Ok(mut treatments) = treatments(file) else { return true };
    while reporter.go_on().await {
        let Some(treatment) = treatments.next() else { break };
        reporter.news(MemoryNews::Treatment(treatment));
    }
    let Ok(mut search) = WaySearch::new(file, WAYS) else { return true };
    loop {
        if !reporter.go_on().await {
            return false;
        }
        let more = search.advance();
        reporter.news(MemoryNews::Ways(search.found().clone()));
        reporter.tell(Message::Progress(search.share()));
        if !more {
            return true;
        }
    }
}
