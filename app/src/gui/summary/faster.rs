//! What the step would gain if a piece of hardware or a class of ops were twice as fast: each simulated.

use std::sync::Arc;

use egui::{Grid, ProgressBar, Ui};
use shardlab_engine::analysis::WhatIf;

use crate::gui::i18n::{t, t_or_name};
use crate::gui::job::{Job, Message};
use crate::gui::session::{Run, Session};
use crate::gui::widgets::heading_ui;

/// Lines that are shown.
const SHOWN: usize = 14;
/// The least gain that is worth a line.
const LEAST: f64 = 0.0005;

/// What was found, and of which run.
#[derive(Debug, Default)]
pub struct Faster {
    job: Option<Job>,
    of: Option<Arc<Run>>,
    found: Vec<WhatIf>,
    done: f32,
}

impl Faster {
    /// Takes what the job has told.
    /// Returns errors.
    pub fn receive(&mut self) -> Vec<String> {
        let mut errors = Vec::new();
        for message in self.job.as_mut().map(Job::receive).unwrap_or_default() {
            match message {
                Message::Progress(done) => self.done = done,
                Message::WhatIf(found) => self.found = found,
                Message::Failed(error) => errors.push(error),
                _ => {}
            }
        }
        errors
    }

    /// Simulates every change of the run on screen.
    pub fn start(&mut self, context: &egui::Context, session: &Session) {
        (self.found, self.done) = (Vec::new(), 0.0);
        self.of = Some(session.run.clone());
        self.job = Some(Job::what_if(context, session.run.clone()));
    }

    /// What tests read.
    pub fn found(&self) -> usize {
        self.found.len()
    }

    /// Draws it.
    pub fn ui(&mut self, ui: &mut Ui, session: &Session) {
        heading_ui(ui, t("faster.title"));
        ui.weak(t("faster.about"));
        let is_current = self.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, &session.run));
        if self.job.as_ref().is_some_and(Job::is_running) {
            ui.horizontal(|ui| {
                ui.add(ProgressBar::new(self.done).desired_width(200.0).show_percentage());
                if ui.button(t("execute.cancel")).clicked() {
                    self.job.iter().for_each(Job::cancel);
                }
            });
        } else if (!is_current || self.found.is_empty()) && ui.button(t("faster.find")).clicked() {
            self.start(ui.ctx(), session);
        }
        if !is_current || self.found.is_empty() {
            return;
        }
        if self.found.iter().all(|change| change.gain <= LEAST) {
            ui.label(t("faster.nothing"));
        }
        Grid::new("faster").striped(true).num_columns(4).spacing([18.0, 3.0]).show(ui, |ui| {
            for change in self.found.iter().filter(|change| change.gain > LEAST).take(SHOWN) {
                let prefix = if change.is_class { "class" } else { "faster" };
                ui.label(t_or_name(prefix, change.what));
                #[expect(clippy::cast_possible_truncation, reason = "a share")]
                ui.add(ProgressBar::new(change.gain as f32).desired_width(180.0).desired_height(10.0));
                ui.monospace(format!("−{:.1} %", change.gain * 100.0));
                ui.monospace(change.step_time.to_string());
                ui.end_row();
            }
        });
    }
}
