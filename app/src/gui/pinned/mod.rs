//! Runs that are kept to be compared: modelled, executed and imported ones alike.
//!
//! * `stored` keeps from visit to visit those that cannot be simulated again.

mod stored;

use std::sync::Arc;

use egui::Color32;
use shardlab_engine::analysis::{Measure, metrics, trace_metrics};
use shardlab_engine::report::Variant;
use shardlab_engine::scenario::ScenarioFile;
use shardlab_engine::trace::{Origin, Trace};

use super::design_tokens::run_color;
use super::session::Run;
use super::timeline::Drawn;
use super::traces::Shown;

use stored::Place;
pub use stored::{StoredPin, forget_oldest};

/// Runs that are kept, at most: a baseline and eight variants, of which one is on screen.
pub const MOST_PINNED: usize = 8;

/// A run that is kept.
#[derive(Clone, Debug)]
pub struct Pinned {
    /// What it is called.
    pub name: String,
    source: Source,
    /// Its figures.
    pub measures: Vec<Measure>,
    /// Where it is kept for the next visit, if it is.
    place: Option<Place>,
}

#[derive(Clone, Debug)]
enum Source {
    Run(Arc<Run>),
    Trace(Arc<Shown>),
}

impl Pinned {
    /// A step that was simulated or executed.
    pub fn of_run(run: Arc<Run>) -> Self {
        let measures = metrics(&run.scenario, &run.report);
        Self { name: run.scenario.name().to_owned(), source: Source::Run(run), measures, place: None }
    }

    /// The same by another name.
    pub fn called(self, name: String) -> Self {
        Self { name, ..self }
    }

    /// A trace that was opened.
    pub fn of_trace(shown: Arc<Shown>) -> Self {
        let measures = trace_metrics(shown.trace());
        Self { name: shown.name().to_owned(), source: Source::Trace(shown), measures, place: None }
    }

    /// Its trace as it is drawn.
    pub fn drawn(&self) -> Drawn<'_> {
        match &self.source {
            Source::Run(run) => run.drawn(),
            Source::Trace(shown) => shown.drawn(),
        }
    }

    /// Its trace.
    pub fn trace(&self) -> &Trace {
        self.drawn().trace
    }

    /// Where its figures come from.
    pub fn origin(&self) -> Origin {
        self.trace().origin
    }

    /// The scenario as it was written, of a step that was simulated or executed.
    pub fn file(&self) -> Option<&ScenarioFile> {
        self.run().map(|run| &run.file)
    }

    /// The same of a step that was simulated: what can be simulated again.
    pub fn modelled_file(&self) -> Option<&ScenarioFile> {
        self.file().filter(|_| self.origin() == Origin::Modelled)
    }

    /// The step, where it is one of a scenario.
    pub fn run(&self) -> Option<&Arc<Run>> {
        match &self.source {
            Source::Run(run) => Some(run),
            Source::Trace(_) => None,
        }
    }

    /// As reports know it.
    pub fn variant(&self) -> Variant {
        Variant { name: self.name.clone(), origin: self.origin(), measures: self.measures.clone() }
    }

    /// The colour of a run with this number.
    pub fn color(number: usize) -> Color32 {
        run_color(number)
    }
}
