//! What may be asked from outside the window: by a page's test interface, and by tests.

use shardlab_engine::exec::{BackendKind, Section};
use shardlab_engine::units::Nanos;

use super::{App, Tab};
use crate::gui::command::Command;
use crate::gui::i18n::{Language, language, set_language, t_with};
use crate::gui::inspector::Selection;
use crate::gui::memory::MemoryPage;

/// An action that comes from outside the window: the page's test interface.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remote {
    /// Load a preset.
    Preset(String),
    /// Show a view.
    Tab(Tab),
    /// Do what a menu does.
    Command(Command),
    /// Train.
    Execute {
        /// Steps.
        steps: u32,
        /// `wgpu` or `cpu`.
        backend: String,
    },
    /// Pause or resume training.
    Pause(bool),
    /// Search with the fields that are offered.
    Search,
    /// Try every combination of fields: paths with their values, as they are typed.
    Sweep(Vec<(String, String)>),
    /// Set a field of the scenario: its path and its value.
    Set(String, serde_json::Value),
    /// Measure this device, predict the step and execute it.
    Predict,
    /// Show a page of the memory view.
    Memory(MemoryPage),
    /// Show what is handed to many nodes.
    Moving,
    /// Show the last executed step in the views.
    Look,
    /// Go on with the run that has ended, or with that of an earlier visit.
    GoOn,
    /// Whether kernels are measured before training.
    Tune(bool),
    /// Play what is read through caches.
    Cache,
    /// Measure the device: these sections.
    Bench(Vec<Section>),
    /// End training after the current step.
    Stop,
    /// End training and forget it.
    Cancel,
    /// Change the language.
    Language(String),
    /// Open a link.
    Link(String),
    /// Choose a part of the time in the timeline, in nanoseconds.
    Choose(i64, i64),
    /// Select a slice of the step on screen, by its number.
    Select(u32),
    /// Keep exported files instead of asking where to put them.
    KeepExports,
    /// Say what went wrong outside.
    Error(String),
    /// Drop a file.
    Drop {
        /// Its name.
        name: String,
        /// What is in it.
        text: String,
    },
}

impl App {
    /// Does what came from outside.
    pub fn run_remote(&mut self, remote: &Remote, context: &egui::Context) {
        match remote {
            Remote::Preset(name) => match shardlab_engine::scenario::presets().iter().find(|p| p.name == name.as_str())
            {
                Some(preset) => self.session.load_preset(preset.name),
                None => self.toasts.error(t_with("error.preset", name)),
            },
            Remote::Tab(tab) => self.show_tab(*tab),
            Remote::Pause(paused) => self.views.execute.set_paused(*paused),
            Remote::Link(text) => self.open_link(text),
            Remote::Choose(from, until) => self.views.timeline.choose(Nanos(*from), Nanos(*until)),
            Remote::Select(span) => self.selection = Selection::Span(*span),
            Remote::KeepExports => drop(self.exporter.keep()),
            Remote::Error(text) => self.tell_error(text.clone()),
            Remote::Command(command) => self.run_command(*command, context),
            Remote::Sweep(fields) => self.views.search.sweep(context, &self.session, fields),
            Remote::Set(path, value) => self.set_field(path, value),
            Remote::Predict => self.views.compare.predict(context, &self.session),
            Remote::Search => self.views.search.start(context, &self.session),
            Remote::Bench(sections) => self.views.bench.start(context, sections, &self.session.tuning),
            Remote::Stop => self.views.execute.stop(),
            Remote::Cancel => self.views.execute.cancel(),
            Remote::Execute { steps, backend } => self.execute_remote(*steps, backend, context),
            Remote::Language(code) => {
                let chosen = if code == "zh" { Language::Chinese } else { Language::English };
                self.settings.language = chosen;
                set_language(chosen);
            }
            Remote::Memory(page) => {
                self.show_tab(Tab::Memory);
                self.views.memory.show(*page);
            }
            Remote::Moving => {
                self.show_tab(Tab::Storage);
                self.views.storage.show_moving(true);
            }
            Remote::Look => self.views.execute.look(&mut self.session),
            Remote::GoOn => self.views.execute.go_on_with_last(context, &mut self.session),
            Remote::Tune(tune) => self.views.execute.set_tune(*tune),
            Remote::Cache => self.views.data.start(context, &self.session),
            Remote::Drop { name, text } => drop(self.open(context, name, text.as_bytes().to_vec())),
        }
    }

    /// Sets a field of the scenario; where the mesh changes, what follows it follows.
    fn set_field(&mut self, path: &str, value: &serde_json::Value) {
        let edit = shardlab_engine::search::Edit { path: path.to_owned(), value: value.clone() };
        match shardlab_engine::search::changed(&self.session.file, &[edit]) {
            Some(file) => self.session.file = file,
            None => self.toasts.error(t_with("error.field", path)),
        }
    }

    fn execute_remote(&mut self, steps: u32, backend: &str, context: &egui::Context) {
        let kind = if backend == "cpu" { BackendKind::Cpu } else { BackendKind::Wgpu };
        self.views.execute.start_small(&mut self.session, kind, steps, context);
    }

    /// The state that tests read, as JSON.
    pub fn state(&self) -> String {
        let active = self.active_tab();
        let run = &self.session.run;
        let state = serde_json::json!({
            "ready": !self.session.is_busy(),
            "screen": active,
            "scenario": run.scenario.name(),
            "preset": self.session.preset,
            "language": language().code(),
            "step_time_ns": run.trace.step_time.0,
            "help": self.help,
            "palette": self.palette.is_some(),
            "typing": self.typing,
            "seconds": run.seconds,
            "fits": run.report.fit.fits,
            "pool": run.scenario.run().pool.name().name(),
            "error": self.session.error.as_ref().map(ToString::to_string),
            "shown": self.session.shown().trace.origin,
            "backend": self.views.execute.backend_name(),
            "tuned_shapes": self.session.tuning.0.values().flat_map(|shapes| shapes.keys()).collect::<Vec<_>>(),
            "execute": self.views.execute.state(),
            "compare": self.views.compare.state(&self.session),
            "advice": self.views.summary.state(),
            "search": self.views.search.state(),
            "bench": self.views.bench.state(),
            "roofline": self.views.roofline.state(),
            "data": self.views.data.state(),
            "storage": self.views.storage.state(),
            "memory": self.views.memory.state(),
            "traces": self.views.traces.state(),
            "logs": self.views.logs.state(),
            "messages": self.toasts.log().len(),
            "tour": self.tour,
            "selected": match self.selection { Selection::Span(span) => Some(span), _ => None },
            "timeline": self.views.timeline.state(),
            "exports": self.exporter.state(),
            "recent": self.settings.recent.iter().map(|file| &file.name).collect::<Vec<_>>(),
            "link": self.shared,
            "toast": self.toasts.newest().filter(|toast| toast.error).map(|toast| &toast.text),
        });
        state.to_string()
    }
}
