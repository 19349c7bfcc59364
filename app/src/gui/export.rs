//! Files that go out: what is on screen, written by the engine's report module.

use std::sync::{Arc, Mutex, PoisonError};

use shardlab_engine::graph::dot;
use shardlab_engine::report;
use shardlab_engine::unpack::gzip;

use super::i18n::t_with;
use super::job::spawn;
use super::session::{Run, Session};

/// Saves files in the background and tells how it went.
#[derive(Debug)]
pub struct Exporter {
    send: flume::Sender<Result<String, String>>,
    receive: flume::Receiver<Result<String, String>>,
    /// Where files go instead of a place that somebody is asked for: for tests.
    kept: Option<Arc<Mutex<Files>>>,
    /// Pictures that come with a later frame.
    pictures: (flume::Sender<Picture>, flume::Receiver<Picture>),
}

/// Files by their names.
type Files = Vec<(String, Vec<u8>)>;

/// A file's name, and what is in it, or why there is none.
type Picture = (String, Result<Vec<u8>, String>);

impl Default for Exporter {
    fn default() -> Self {
        let (send, receive) = flume::unbounded();
        Self { send, receive, kept: None, pictures: flume::unbounded() }
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
        let run = Arc::clone(run);
        let name = format!("{}.trace.json.gz", run.scenario.name());
        self.save(context, name, move || Ok(gzip(report::perfetto_json(&run.trace).as_bytes())));
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
        if let Some(kept) = &self.kept {
            let outcome = content().map(|content| {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push((name.clone(), content));
                t_with("export.done", &name)
            });
            send.send(outcome.map_err(|error| format!("{name}: {error}"))).ok();
            return;
        }
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

    /// Keeps files instead of asking where to put them; those that were kept so far.
    pub fn keep(&mut self) -> Files {
        let kept = self.kept.get_or_insert_default();
        kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Names and sizes of what was kept.
    pub fn state(&self) -> serde_json::Value {
        let Some(kept) = &self.kept else { return serde_json::Value::Null };
        let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().map(|(name, content)| serde_json::json!([name, content.len()])).collect()
    }

    /// Where pictures go once they are there.
    pub fn sender(&self) -> flume::Sender<Picture> {
        self.pictures.0.clone()
    }

    /// Saves the pictures that are there.
    pub fn save_pictures(&self, context: &egui::Context) {
        for (name, content) in self.pictures.1.try_iter() {
            self.save(context, name, move || content);
        }
    }

    /// How exports went since the last call.
    pub fn outcomes(&self) -> Vec<Result<String, String>> {
        self.receive.try_iter().collect()
    }
}
