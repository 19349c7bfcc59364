//! Files that go out: what is on screen, written by the engine's report module.

use std::sync::Arc;

use shardlab_engine::graph::dot;
use shardlab_engine::report;

use super::i18n::t_with;
use super::job::spawn;
use super::session::{Run, Session};

/// Saves files in the background and tells how it went.
#[derive(Debug)]
pub struct Exporter {
    send: flume::Sender<Result<String, String>>,
    receive: flume::Receiver<Result<String, String>>,
}

impl Default for Exporter {
    fn default() -> Self {
        let (send, receive) = flume::unbounded();
        Self { send, receive }
    }
}

impl Exporter {
    /// Saves the scenario as TOML.
    pub fn scenario(&self, context: &egui::Context, session: &Session) {
        let text = toml::to_string_pretty(&session.file);
        let name = session.file.name.clone().unwrap_or_else(|| "scenario".to_owned());
        self.save(context, format!("{name}.toml"), move || {
            text.map(String::into_bytes).map_err(|error| error.to_string())
        });
    }

    /// Saves the figures as JSON.
    pub fn json(&self, context: &egui::Context, run: &Arc<Run>) {
        self.of_run(context, run, "json", |run| report::report_json(&run.scenario, &run.step, &run.trace, &run.report));
    }

    /// Saves times by class of op as CSV.
    pub fn csv(&self, context: &egui::Context, run: &Arc<Run>) {
        self.of_run(context, run, "ops.csv", |run| report::op_table_csv(&run.trace));
    }

    /// Saves memory over time as CSV.
    pub fn memory(&self, context: &egui::Context, run: &Arc<Run>) {
        self.of_run(context, run, "memory.csv", |run| report::memory_csv(&run.trace));
    }

    /// Saves the trace for Perfetto.
    pub fn perfetto(&self, context: &egui::Context, run: &Arc<Run>) {
        self.of_run(context, run, "trace.json", |run| report::perfetto_json(&run.trace));
    }

    /// Saves the step graph for Graphviz.
    pub fn graph(&self, context: &egui::Context, run: &Arc<Run>) {
        self.of_run(context, run, "dot", |run| dot(&run.step));
    }

    /// Saves what a view has made.
    pub fn made(&self, context: &egui::Context, name: String, content: Vec<u8>) {
        self.save(context, name, move || Ok(content));
    }

    fn of_run(&self, context: &egui::Context, run: &Arc<Run>, suffix: &str, text: fn(&Run) -> String) {
        let run = Arc::clone(run);
        self.save(context, format!("{}.{suffix}", run.scenario.name()), move || Ok(text(&run).into_bytes()));
    }

    /// Asks where to, and only then makes the text: a trace has tens of megabytes.
    fn save(
        &self,
        context: &egui::Context,
        name: String,
        content: impl FnOnce() -> Result<Vec<u8>, String> + Send + 'static,
    ) {
        let (send, context) = (self.send.clone(), context.clone());
        spawn("export", async move {
            let Some(handle) = rfd::AsyncFileDialog::new().set_file_name(&name).save_file().await else { return };
            let outcome = match content() {
                Ok(content) => handle.write(&content).await.map_err(|error| error.to_string()),
                Err(error) => Err(error),
            };
            let told = outcome.map(|()| t_with("export.done", &name)).map_err(|error| format!("{name}: {error}"));
            send.send(told).ok();
            context.request_repaint();
        });
    }

    /// How exports went since the last call.
    pub fn outcomes(&self) -> Vec<Result<String, String>> {
        self.receive.try_iter().collect()
    }
}
