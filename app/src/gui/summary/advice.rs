//! What to change: single changes that make the step faster and fit, each simulated.

use egui::{Grid, ProgressBar, RichText, Ui};
use shardlab_engine::report::{self, edits_text, signed_bytes};
use shardlab_engine::scenario::ScenarioFile;
use shardlab_engine::search::{Advice, Edit, Effect, changed};

use crate::gui::design_tokens::signals;
use crate::gui::i18n::{t, t_with};
use crate::gui::job::{Advised, Job, Message};
use crate::gui::session::Session;
use crate::gui::widgets::{heading_ui, right_ui};

/// Changes that are shown.
const SHOWN: usize = 12;

/// What was found, and of which scenario.
#[derive(Debug, Default)]
pub struct AdviceList {
    job: Option<Job>,
    of: Option<ScenarioFile>,
    found: Option<Box<Advised>>,
}

/// What somebody wants to do with a change.
enum Wish {
    Apply(Vec<Edit>),
    Pin(Vec<Edit>),
}

impl AdviceList {
    /// Takes what the job has told.
    /// Returns errors.
    pub fn receive(&mut self) -> Vec<String> {
        let mut errors = Vec::new();
        for message in self.job.as_mut().map(Job::receive).unwrap_or_default() {
            match message {
                Message::Advised(found) => self.found = Some(found),
                Message::Failed(error) => errors.push(error),
                _ => {}
            }
        }
        errors
    }

    /// Whether what was found is of the scenario on screen.
    fn is_current(&self, session: &Session) -> bool {
        self.of.as_ref() == Some(&session.run.file)
    }

    fn is_running(&self) -> bool {
        self.job.as_ref().is_some_and(Job::is_running)
    }

    /// Single changes that were found of the scenario on screen.
    pub fn found(&self, session: &Session) -> &[Advice] {
        self.found.as_ref().filter(|_| self.is_current(session)).map_or(&[], |found| &found.found)
    }

    /// What tests read.
    pub fn state(&self) -> serde_json::Value {
        let found = self.found.as_ref();
        serde_json::json!({
            "running": self.is_running(),
            "found": found.map(|found| found.found.len()),
            "gain": found.and_then(|found| found.found.first()).map(|best| best.gain),
            "together": found.and_then(|found| found.together.as_ref()).map(|all| all.gain),
        })
    }

    /// Begins to look for changes of the scenario as it was simulated last.
    pub fn start(&mut self, context: &egui::Context, session: &Session) {
        if let Some(job) = &self.job {
            job.cancel();
        }
        self.found = None;
        self.of = Some(session.run.file.clone());
        self.job = Some(Job::advice(context, session.run.file.clone()));
    }

    /// Applies what helps most together, or the best single change.
    pub fn apply_best(&self, session: &mut Session) {
        let found = self.found.as_ref().filter(|_| self.is_current(session));
        let best = found.and_then(|found| found.together.as_ref().or(found.found.first()));
        match best.and_then(|best| changed(&session.file, &best.way.edits)) {
            Some(file) => session.file = file,
            None => session.refusals.push(t("advice.none_yet").to_owned()),
        }
    }

    /// Draws it. Where the list is of a scenario that has been changed since, it says so and looks again when asked.
    pub fn ui(&mut self, ui: &mut Ui, session: &mut Session) {
        heading_ui(ui, t("advice.title"));
        ui.weak(t("advice.about"));
        let is_current = self.is_current(session);
        ui.horizontal(|ui| {
            if self.is_running() {
                let share = self.found.as_ref().map_or(0.0, |found| found.share);
                ui.add(ProgressBar::new(share).desired_width(200.0).show_percentage());
                if let Some(job) = self.job.as_ref().filter(|_| ui.button(t("execute.cancel")).clicked()) {
                    job.cancel();
                }
            } else if (!is_current || self.found.is_none())
                && ui.button(t("advice.find")).on_hover_text(t("command.advise.tip")).clicked()
            {
                self.start(ui.ctx(), session);
            }
            if self.found.is_some() && !is_current {
                ui.colored_label(signals(ui.visuals()).warn, t("advice.old"));
            }
        });
        let Some(found) = &self.found else { return };
        let wish = found_ui(ui, found);
        if !found.found.is_empty() && ui.button(t("advice.save")).clicked() {
            session.save("advice.csv".to_owned(), report::advice_csv(&found.found));
        }
        match wish {
            Some(Wish::Apply(edits)) => {
                if let Some(file) = changed(&session.file, &edits) {
                    session.file = file;
                }
            }
            Some(Wish::Pin(edits)) => {
                let base = self.of.as_ref().unwrap_or(&session.file);
                if let Some(mut file) = changed(base, &edits) {
                    file.name = Some(edits_text(&edits));
                    session.pin_file(file, ui.ctx());
                }
            }
            None => {}
        }
    }
}

fn found_ui(ui: &mut Ui, found: &Advised) -> Option<Wish> {
    if found.found.is_empty() {
        ui.label(if found.share < 1.0 { t("advice.looking") } else { t("advice.nothing") });
        return None;
    }
    let mut wish = None;
    Grid::new("advice").striped(true).num_columns(6).spacing([16.0, 4.0]).show(ui, |ui| {
        for key in ["advice.gain", "inspector.step_time", "advice.memory", "advice.change"] {
            ui.weak(t(key));
        }
        ui.end_row();
        if let Some(advice) = &found.together {
            wish = row_ui(ui, advice, true);
        }
        for advice in found.found.iter().take(SHOWN) {
            wish = row_ui(ui, advice, false).or(wish.take());
        }
    });
    wish
}

fn row_ui(ui: &mut Ui, advice: &Advice, is_together: bool) -> Option<Wish> {
    let gain = RichText::new(format!("{:+.1} %", advice.gain * 100.0)).monospace().strong();
    let color = if advice.gain >= 0.0 { signals(ui.visuals()).good } else { signals(ui.visuals()).bad };
    ui.label(gain.color(color)).on_hover_text(t("advice.gain.tip"));
    right_ui(ui, &advice.way.step_time.to_string());
    right_ui(ui, &signed_bytes(advice.memory));
    let edits = &advice.way.edits;
    ui.vertical(|ui| {
        if is_together {
            ui.strong(t("advice.together"));
        }
        let lines: Vec<String> = edits.iter().map(|edit| edits_text(std::slice::from_ref(edit))).collect();
        let text = RichText::new(lines.join("\n")).monospace();
        ui.add(egui::Label::new(text).wrap_mode(egui::TextWrapMode::Extend));
        if advice.effect == Effect::Rounding {
            ui.colored_label(signals(ui.visuals()).warn, t("advice.rounding")).on_hover_text(t("advice.rounding.tip"));
        }
    });
    let mut wish = None;
    let name = edits_text(edits);
    ui.horizontal(|ui| {
        let apply = ui.button(t("advice.apply")).on_hover_text(t_with("advice.apply.tip", &name));
        if apply.clicked() {
            wish = Some(Wish::Apply(edits.clone()));
        }
        if ui.button(t("advice.pin")).on_hover_text(t("advice.pin.tip")).clicked() {
            wish = Some(Wish::Pin(edits.clone()));
        }
    });
    ui.end_row();
    wish
}
