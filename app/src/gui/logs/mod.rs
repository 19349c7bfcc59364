//! Logs: those of training runs that were opened, and what this app has told.
//!
//! * `training` draws the curves of training runs.

mod training;

use std::sync::Arc;

use egui::Ui;
use shardlab_engine::analysis::LogFindings;
use shardlab_engine::trace::{Origin, TrainingLog};

use super::design_tokens::signals;
use super::i18n::{message, t, t_with};
use super::job::{Job, Message};
use super::session::Session;
use super::toast::Toasts;
use super::widgets::{heading_ui, origin_ui};

/// Logs that are shown together, at most.
const MOST: usize = 8;

/// A log that is open.
#[derive(Debug)]
pub struct OpenLog {
    /// The file's name.
    pub name: String,
    /// What it tells.
    pub log: TrainingLog,
    /// What stands out in it.
    pub found: LogFindings,
}

/// What of it is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Page {
    /// Runs.
    #[default]
    Training,
    /// Messages.
    Messages,
}

/// The state of the view.
#[derive(Debug, Default)]
pub struct LogsView {
    page: Page,
    logs: Vec<Arc<OpenLog>>,
    jobs: Vec<Job>,
    curves: training::Curves,
}

impl LogsView {
    /// Opens a log of a training run in the background.
    pub fn open(&mut self, context: &egui::Context, name: &str, bytes: Vec<u8>) {
        self.page = Page::Training;
        self.jobs.push(Job::training_log(context, name.to_owned(), bytes));
    }

    /// Takes what was read; returns errors.
    pub fn receive(&mut self) -> Vec<String> {
        let mut errors = Vec::new();
        for message in self.jobs.iter_mut().flat_map(Job::receive) {
            match message {
                Message::Logged(log) => {
                    self.logs.retain(|known| known.name != log.name);
                    self.logs.push(Arc::new(*log));
                    let surplus = self.logs.len().saturating_sub(MOST);
                    self.logs.drain(..surplus);
                }
                Message::Failed(error) => errors.push(error),
                _ => {}
            }
        }
        self.jobs.retain(Job::is_running);
        errors
    }

    /// What tests read.
    pub fn state(&self) -> serde_json::Value {
        let of = |log: &Arc<OpenLog>| {
            serde_json::json!({
                "name": log.name,
                "framework": log.log.framework,
                "steps": log.log.steps.len(),
                "stalls": log.found.stalls.len(),
                "spikes": log.found.spikes.len(),
            })
        };
        serde_json::json!({ "running": !self.jobs.is_empty(), "logs": self.logs.iter().map(of).collect::<Vec<_>>() })
    }

    /// Draws the view.
    pub fn ui(&mut self, ui: &mut Ui, session: &mut Session, toasts: &mut Toasts) {
        ui.horizontal(|ui| {
            ui.selectable_value(&mut self.page, Page::Training, t("logs.training"));
            let messages = t_with("logs.messages", toasts.log().len());
            ui.selectable_value(&mut self.page, Page::Messages, messages);
        });
        match self.page {
            Page::Training => self.training_ui(ui, session),
            Page::Messages => messages_ui(ui, toasts),
        }
    }

    fn training_ui(&mut self, ui: &mut Ui, session: &mut Session) {
        egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
            ui.horizontal(|ui| {
                heading_ui(ui, t("logs.title"));
                origin_ui(ui, Origin::Imported);
                if !self.jobs.is_empty() {
                    ui.spinner();
                }
            });
            if self.logs.is_empty() {
                ui.label(t("logs.nothing"));
                ui.weak(t("traces.private"));
                return;
            }
            self.curves.ui(ui, &self.logs);
            let mut closed = None;
            for (number, log) in self.logs.iter().enumerate() {
                if training::log_ui(ui, number, log, session) {
                    closed = Some(number);
                }
            }
            if let Some(number) = closed {
                self.logs.remove(number);
            }
        });
    }
}

/// What was told since the start, the newest first.
fn messages_ui(ui: &mut Ui, toasts: &mut Toasts) {
    if toasts.log().is_empty() {
        ui.weak(t("logs.no_messages"));
        return;
    }
    ui.horizontal(|ui| {
        if ui.button(t("logs.copy")).clicked() {
            let lines: Vec<&str> = toasts.log().iter().map(|toast| toast.text.as_str()).collect();
            ui.ctx().copy_text(lines.join("\n"));
        }
        if ui.button(t("logs.clear")).clicked() {
            toasts.clear_log();
        }
    });
    egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        for toast in toasts.log().iter().rev() {
            let colors = signals(ui.visuals());
            let color = if toast.error { colors.bad } else { colors.good };
            ui.horizontal_wrapped(|ui| {
                ui.colored_label(color, if toast.error { "⚠" } else { "✓" });
                ui.label(message(&toast.text));
            });
        }
    });
}
