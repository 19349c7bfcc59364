//! The left panel: the scenario, every field with its unit and an explanation.

mod fields;

use egui::Ui;
use shardlab_engine::scenario::{PipelineSchedule, Precision, Recompute, presets};
use shardlab_engine::{cluster, model};

use super::design_tokens::signals;
use super::i18n::{t, t_or_name};
use super::session::Session;
use super::widgets::heading_ui;
use fields::{choice_ui, flag_ui, name_ui, number_ui, optional_ui, text_ui};

/// What is typed but not yet a value.
#[derive(Debug, Default)]
pub struct FormState {
    bucket: Option<String>,
}

/// What a field needs to draw itself: the error, if it is about this field.
struct Form<'a> {
    error: Option<(String, String)>,
    session: &'a mut Session,
}

/// Draws the form.
pub fn ui(ui: &mut Ui, session: &mut Session, state: &mut FormState) {
    let error = session.error_at();
    egui::ScrollArea::vertical().show(ui, |ui| {
        preset_ui(ui, session);
        let mut form = Form { error, session };
        form.banner_ui(ui);
        form.model_ui(ui);
        form.cluster_ui(ui);
        form.strategy_ui(ui);
        form.training_ui(ui, state);
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
            if ui.selectable_label(session.preset == Some(preset.name), format!("{}{mark}", preset.name)).clicked() {
                chosen = Some(preset.name);
            }
        }
    });
    combo.response.labelled_by(heading.id);
    if let Some(name) = chosen {
        session.load_preset(name);
    }
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

    fn model_ui(&mut self, ui: &mut Ui) {
        heading_ui(ui, t("form.model"));
        let run = self.session.run.clone();
        let effective = run.scenario.model();
        let names: Vec<&str> = model::presets().keys().map(String::as_str).collect();
        let before = self.session.file.model.preset.clone();
        let error = self.error_of("model.preset");
        name_ui(ui, "form.model.preset", &names, &mut self.session.file.model.preset, error.as_deref());
        if self.session.file.model.preset != before {
            let preset = self.session.file.model.preset.take();
            self.session.file.model = model::ModelFile { preset, ..model::ModelFile::default() };
        }
        let errors = ["layers", "hidden", "heads", "kv_heads", "ffn_hidden", "vocab"]
            .map(|field| self.error_of(&format!("model.{field}")));
        let file = &mut self.session.file.model;
        let fields = [
            ("form.model.layers", &mut file.layers, effective.layers, 1..=4096),
            ("form.model.hidden", &mut file.hidden, effective.hidden, 1..=1 << 18),
            ("form.model.heads", &mut file.heads, effective.heads, 1..=1024),
            ("form.model.kv_heads", &mut file.kv_heads, effective.kv_heads, 1..=1024),
            ("form.model.ffn_hidden", &mut file.ffn_hidden, effective.ffn_hidden, 1..=1 << 18),
            ("form.model.vocab", &mut file.vocab, effective.vocab, 1..=1 << 20),
        ];
        for ((key, value, effective, range), error) in fields.into_iter().zip(errors) {
            optional_ui(ui, key, value, effective, range, error.as_deref());
        }
        let error = self.error_of("data.sequence_length");
        let effective = run.scenario.data().sequence_length;
        let value = &mut self.session.file.data.sequence_length;
        optional_ui(ui, "form.data.sequence", value, effective, 1..=1 << 20, error.as_deref());
    }

    fn cluster_ui(&mut self, ui: &mut Ui) {
        heading_ui(ui, t("form.cluster"));
        let names: Vec<&str> = cluster::presets().keys().map(String::as_str).collect();
        let error = self.error_of("cluster.device");
        name_ui(ui, "form.cluster.device", &names, &mut self.session.file.cluster.device, error.as_deref());
        let error = self.error_of("cluster.nodes");
        number_ui(ui, "form.cluster.nodes", &mut self.session.file.cluster.nodes, 1..=1 << 16, error.as_deref());
        let cluster = self.session.run.scenario.cluster();
        ui.weak(format!(
            "{} {} · {} · {}",
            cluster.devices(),
            t("form.cluster.devices"),
            cluster.device.memory,
            cluster.intra_link.name
        ));
    }

    fn strategy_ui(&mut self, ui: &mut Ui) {
        heading_ui(ui, t("form.strategy"));
        let effective = self.session.run.scenario.strategy().clone();
        let paths = ["data_parallel", "tensor_parallel", "pipeline_parallel", "micro_batch", "global_batch"];
        let [dp, tp, pp, micro, global] = paths.map(|p| self.error_of(&format!("strategy.{p}")));
        let s = &mut self.session.file.strategy;
        optional_ui(ui, "form.strategy.dp", &mut s.data_parallel, effective.data_parallel, 1..=1 << 16, dp.as_deref());
        number_ui(ui, "form.strategy.tp", &mut s.tensor_parallel, 1..=1024, tp.as_deref());
        flag_ui(ui, "form.strategy.sp", &mut s.sequence_parallel);
        number_ui(ui, "form.strategy.pp", &mut s.pipeline_parallel, 1..=4096, pp.as_deref());
        let schedules = [(PipelineSchedule::OneFOneB, "form.schedule.1f1b"), (PipelineSchedule::GPipe, "form.schedule.gpipe")];
        choice_ui(ui, "form.strategy.schedule", &mut s.schedule, &schedules);
        number_ui(ui, "form.strategy.micro", &mut s.micro_batch, 1..=1 << 16, micro.as_deref());
        number_ui(ui, "form.strategy.global", &mut s.global_batch, 1..=1 << 24, global.as_deref());
        let precisions = [(Precision::Bf16, "form.precision.bf16"), (Precision::Fp32, "form.precision.fp32")];
        choice_ui(ui, "form.strategy.precision", &mut s.precision, &precisions);
        let policies = [(Recompute::None, "form.recompute.none"), (Recompute::Full, "form.recompute.full")];
        choice_ui(ui, "form.strategy.recompute", &mut s.recompute, &policies);
        flag_ui(ui, "form.strategy.overlap", &mut s.overlap_gradients);
    }

    fn training_ui(&mut self, ui: &mut Ui, state: &mut FormState) {
        let effective = self.session.run.scenario.strategy().bucket;
        text_ui(ui, "form.strategy.bucket", &mut self.session.file.strategy.bucket, &mut state.bucket, effective);
        heading_ui(ui, t("form.run"));
        number_ui(ui, "form.run.steps", &mut self.session.file.run.steps, 1..=1_000_000, None);
        let rate = &mut self.session.file.run.learning_rate;
        fields::row_ui(ui, "form.run.rate", None, |ui| ui.add(egui::DragValue::new(rate).speed(1e-4).range(0.0..=1.0)));
    }
}
