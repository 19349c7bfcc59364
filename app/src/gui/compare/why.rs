//! Which setting makes which part of a difference: mixes of the settings are simulated.

use std::sync::Arc;

use egui::{Grid, ProgressBar, RichText, Ui};
use shardlab_engine::report::{cause_text, signed_bytes};
use shardlab_engine::scenario::ScenarioFile;
use shardlab_engine::search::Attribution;
use shardlab_engine::units::Nanos;

use crate::gui::design_tokens::signals;
use crate::gui::i18n::{t, t_with};
use crate::gui::job::{Job, Message};
use crate::gui::pinned::Pinned;
use crate::gui::session::Session;
use crate::gui::widgets::{heading_ui, right_ui};

/// An attribution and what it is of.
#[derive(Debug, Default)]
pub struct Why {
    job: Option<Job>,
    done: f32,
    /// Baseline and variant of the question.
    of: Option<(ScenarioFile, ScenarioFile)>,
    name: String,
    found: Option<Box<Attribution>>,
}

impl Why {
    /// Takes what the job has told.
    /// Returns errors.
    pub fn receive(&mut self) -> Vec<String> {
        let mut errors = Vec::new();
        for message in self.job.as_mut().map(Job::receive).unwrap_or_default() {
            match message {
                Message::Progress(done) => self.done = done,
                Message::Attributed(found) => self.found = Some(found),
                Message::Failed(error) => errors.push(error),
                _ => {}
            }
        }
        errors
    }

    /// Causes that were found.
    pub fn causes(&self) -> Option<usize> {
        self.found.as_ref().map(|found| found.causes.len())
    }

    /// Asks why a scenario differs from the baseline.
    pub fn start(
        &mut self,
        context: &egui::Context,
        baseline: Option<&Arc<Pinned>>,
        variant: &ScenarioFile,
        name: &str,
    ) {
        let Some(baseline) = baseline.and_then(|baseline| baseline.modelled_file()) else { return };
        (self.done, self.found, self.name) = (0.0, None, name.to_owned());
        self.of = Some((baseline.clone(), variant.clone()));
        self.job = Some(Job::attribution(context, baseline.clone(), variant.clone()));
    }

    /// What is known of each run but the first.
    pub fn of_all(&self, columns: &[Arc<Pinned>]) -> Vec<Option<Attribution>> {
        let known = |column: &Arc<Pinned>| {
            let (baseline, variant) = self.of.as_ref()?;
            let is_it = column.modelled_file() == Some(variant) && columns[0].modelled_file() == Some(baseline);
            self.found.as_deref().filter(|_| is_it).cloned()
        };
        columns.iter().skip(1).map(known).collect()
    }

    /// Draws it.
    pub fn ui(&mut self, ui: &mut Ui, session: &Session, columns: &[Arc<Pinned>]) {
        let baseline = session.pinned.first();
        let is_modelled = baseline.is_some_and(|baseline| baseline.modelled_file().is_some());
        let variants: Vec<&Arc<Pinned>> =
            columns.iter().skip(1).filter(|column| column.modelled_file().is_some()).collect();
        if !is_modelled || variants.is_empty() {
            return;
        }
        heading_ui(ui, t("compare.why"));
        ui.horizontal_wrapped(|ui| {
            for column in variants {
                let Some(file) = column.modelled_file() else { continue };
                let button = ui.button(t_with("compare.why.of", &column.name));
                if button.on_hover_text(t("compare.why.tip")).clicked() {
                    self.start(ui.ctx(), baseline, file, &column.name);
                }
            }
            if let Some(job) = self.job.as_ref().filter(|job| job.is_running()) {
                ui.add(ProgressBar::new(self.done).desired_width(160.0).show_percentage());
                if ui.button(t("execute.cancel")).clicked() {
                    job.cancel();
                }
            }
        });
        let is_shown = self.of_all(columns).iter().any(Option::is_some);
        if let Some(found) = self.found.as_ref().filter(|_| is_shown) {
            found_ui(ui, &self.name, found);
        }
    }
}

fn signed(time: Nanos) -> String {
    let sign = if time.0 < 0 { "−" } else { "+" };
    format!("{sign}{}", Nanos(time.0.saturating_abs()))
}

fn found_ui(ui: &mut Ui, name: &str, found: &Attribution) {
    let how = if found.exact { "compare.why.every" } else { "compare.why.two" };
    ui.label(format!("{name}: {} · {}", signed(found.time), signed_bytes(found.memory)));
    ui.weak(t_with(how, found.simulated));
    let colors = signals(ui.visuals());
    Grid::new("causes").striped(true).num_columns(4).spacing([18.0, 3.0]).show(ui, |ui| {
        for key in ["compare.why.setting", "inspector.step_time", "compare.why.memory", "compare.why.alone"] {
            ui.weak(t(key));
        }
        ui.end_row();
        for cause in &found.causes {
            ui.monospace(cause_text(cause));
            let color = if cause.time.0 <= 0 { colors.good } else { colors.bad };
            ui.label(RichText::new(signed(cause.time)).monospace().color(color));
            right_ui(ui, &signed_bytes(cause.memory));
            ui.monospace(cause.alone.map_or_else(|| t("compare.why.not_alone").to_owned(), signed));
            ui.end_row();
        }
    });
}
