//! The prediction beside the execution on this device.

use egui::Ui;
use shardlab_engine::compare::Comparison;
use shardlab_engine::exec::{BackendKind, executable_step};
use shardlab_engine::report;
use shardlab_engine::scenario::ClusterFile;

use super::beside;
use crate::gui::design_tokens::signals;
use crate::gui::i18n::{t, t_with};
use crate::gui::job::{Job, Message};
use crate::gui::session::Session;
use crate::gui::widgets::{heading_ui, warning_ui};

/// Steps that a comparison executes after the first.
const STEPS: u32 = 3;

/// A running comparison and its result.
#[derive(Debug, Default)]
pub(super) struct Prediction {
    job: Option<Job>,
    done: f32,
    result: Option<Box<Comparison>>,
    /// The scenario that the result belongs to.
    of: String,
    note: Option<String>,
}

impl Prediction {
    /// Takes what the job has told; returns errors.
    pub fn receive(&mut self) -> Vec<String> {
        let messages = self.job.as_mut().map(Job::receive).unwrap_or_default();
        let mut errors = Vec::new();
        for message in messages {
            match message {
                Message::Progress(done) => self.done = done,
                Message::Opened(_, note) => self.note = note,
                Message::Compared(result) => self.result = Some(result),
                Message::Failed(error) => errors.push(error),
                _ => {}
            }
        }
        errors
    }

    /// Whether it runs, and predicted over executed.
    pub fn state(&self) -> (bool, Option<f64>) {
        let running = self.job.as_ref().is_some_and(Job::is_running);
        (running, self.result.as_ref().map(|result| result.ratio()))
    }

    /// Draws it.
    pub fn ui(&mut self, ui: &mut Ui, session: &mut Session) {
        heading_ui(ui, t("compare.prediction"));
        ui.weak(t("compare.prediction.about"));
        let running = self.job.as_ref().is_some_and(Job::is_running);
        if let Err(error) = executable_step(&session.run.scenario, &session.run.step)
            && !running
        {
            warning_ui(ui, &error.to_string());
            if ui.button(t("execute.load_small")).clicked() {
                session.load_preset(crate::gui::execute::SMALL_PRESET);
            }
            return;
        }
        ui.horizontal(|ui| {
            if ui.add_enabled(!running, egui::Button::new(t("compare.start"))).clicked() {
                self.start(ui.ctx(), session);
            }
            if let Some(job) = self.job.as_ref().filter(|_| running) {
                ui.add(egui::ProgressBar::new(self.done).desired_width(180.0).show_percentage());
                if ui.button(t("execute.cancel")).clicked() {
                    job.cancel();
                }
            }
        });
        if let Some(note) = &self.note {
            ui.colored_label(signals(ui.visuals()).warn, note);
        }
        if let Some(result) = &self.result {
            // Above the tables, which may be long.
            ui.horizontal(|ui| {
                if ui.button(t("compare.save")).clicked() {
                    session.save(format!("{}.comparison.json", self.of), report::comparison_json(result));
                }
                if ui.button(t("compare.save_ops")).clicked() {
                    session.save(format!("{}.ops.csv", self.of), report::op_comparison_csv(result));
                }
                if ui.button(t("compare.take_device")).on_hover_text(t("compare.take_device.tip")).clicked() {
                    take_device(session, result);
                }
            });
            result_ui(ui, &self.of, result);
        }
    }

    /// Measures, predicts and executes the scenario on screen.
    pub fn start(&mut self, context: &egui::Context, session: &Session) {
        self.done = 0.0;
        self.result = None;
        self.of = session.run.scenario.name().to_owned();
        self.job = Some(Job::compare(context, session.run.scenario.clone(), BackendKind::Wgpu, STEPS));
    }
}

/// Gives the scenario on screen the device that was measured, once for each of its ranks.
fn take_device(session: &mut Session, result: &Comparison) {
    let scenario = &session.run.scenario;
    let device = result.calibration.device_file(scenario.mesh().ranks(), scenario.device_memory());
    session.file.cluster = ClusterFile { nodes: 1, custom: Some(device), ..ClusterFile::default() };
}

fn result_ui(ui: &mut Ui, of: &str, result: &Comparison) {
    ui.label(format!("{of} · {} ({}; {})", result.backend.name, result.backend.detail, result.backend.timing));
    let c = &result.calibration;
    ui.weak(format!(
        "{}: {} {} · {} {} · {} {} · {} {} · {} {} · {} {}",
        t("compare.measured"),
        t("compare.matmul"),
        c.matmul,
        t("class.attention"),
        c.attention,
        t("compare.vector"),
        c.vector,
        t("compare.memory_bandwidth"),
        c.memory_bandwidth,
        t("compare.copy"),
        c.copy_bandwidth,
        t("compare.call"),
        c.launch_overhead
    ));
    beside::classes_ui(ui, result);
    beside::ops_ui(ui, &result.ops);
    let colors = signals(ui.visuals());
    for (stage, planned, allocated) in &result.memory {
        let (color, key) =
            if planned == allocated { (colors.good, "compare.equal") } else { (colors.bad, "compare.different") };
        let stage = t_with("graph.stage", stage);
        let (planned, allocated) = (planned.total(), allocated.total());
        ui.horizontal_wrapped(|ui| {
            ui.label(format!("{stage}: {} {planned} · {} {allocated}", t("compare.planned"), t("compare.allocated")));
            ui.colored_label(color, t(key));
        });
    }
}
