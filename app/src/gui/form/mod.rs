//! The left panel: the scenario, every field with its unit and an explanation.

mod budget;
mod cluster;
mod exceptions;
mod feeding;
mod fields;
mod input;
mod model;
mod network;
mod replicas;
mod resilience;
mod samples;
mod spread;
mod strategy;
mod transfer;

pub use fields::{Typed, quantity_ui};

use egui::Ui;
use shardlab_engine::scenario::presets;

use super::design_tokens::signals;
use super::i18n::{t, t_or_name};
use super::session::Session;
use super::widgets::heading_ui;

/// What is typed but not yet a value.
#[derive(Debug, Default)]
pub struct FormState {
    typed: Typed,
}

/// What fields need to draw themselves.
struct Form<'a> {
    /// The path that the error is about, and the error.
    error: Option<(String, String)>,
    session: &'a mut Session,
    state: &'a mut FormState,
}

/// Draws the form.
pub fn ui(ui: &mut Ui, session: &mut Session, state: &mut FormState) {
    let error = session.error_at();
    egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        preset_ui(ui, session);
        let mut form = Form { error, session, state };
        form.banner_ui(ui);
        form.model_ui(ui);
        form.cluster_ui(ui);
        form.strategy_ui(ui);
        form.training_ui(ui);
        form.input_ui(ui);
        form.resilience_ui(ui);
        form.transfer_ui(ui);
        form.whole_run_ui(ui);
    });
}

fn preset_ui(ui: &mut Ui, session: &mut Session) {
    let heading = heading_ui(ui, t("form.preset"));
    let current = session.preset.unwrap_or(t("form.preset.custom"));
    let mut chosen = None;
    let combo = egui::ComboBox::from_id_salt("preset").width(ui.available_width()).selected_text(current);
    let combo = combo.show_ui(ui, |ui| {
        for preset in presets() {
            let mark = if preset.executable { " ▶" } else { "" };
            let about = t_or_name("preset", preset.name);
            let label = ui.selectable_label(session.preset == Some(preset.name), format!("{}{mark}", preset.name));
            if label.on_hover_text(about).clicked() {
                chosen = Some(preset.name);
            }
        }
        ui.weak(t("form.preset.mark"));
    });
    combo.response.labelled_by(heading.id);
    if let Some(name) = chosen {
        session.load_preset(name);
    }
    let effective = session.run.scenario.name().to_owned();
    fields::text_ui(ui, "form.name", &mut session.file.name, &effective);
    let translated = session.preset.map(|name| t_or_name("preset", name));
    if let Some(description) = translated.or(session.file.description.as_deref()) {
        ui.weak(description);
    }
}

impl Form<'_> {
    /// The error as a banner; the last good run stays on screen.
    fn banner_ui(&self, ui: &mut Ui) {
        let Some((_, message)) = &self.error else { return };
        let color = signals(ui.visuals()).bad;
        egui::Frame::group(ui.style()).stroke(egui::Stroke::new(1.0, color)).show(ui, |ui| {
            ui.colored_label(color, t("form.invalid"));
            ui.label(message);
        });
    }

    /// The error, if it is about the field at `path`.
    fn error_of(&self, path: &str) -> Option<String> {
        self.error.as_ref().filter(|(at, _)| at == path).map(|(_, message)| message.clone())
    }
}
