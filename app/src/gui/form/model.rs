//! Fields of the model and its data.

use egui::Ui;
use shardlab_engine::model::{self, Architecture, ModelFile};

use super::Form;
use super::fields::{name_ui, named_ui, optional_flag_ui, optional_real_ui, optional_ui};
use crate::gui::i18n::t;
use crate::gui::widgets::heading_ui;

impl Form<'_> {
    /// Draws them.
    pub(super) fn model_ui(&mut self, ui: &mut Ui) {
        heading_ui(ui, t("form.model"));
        self.model_preset_ui(ui);
        self.model_sizes_ui(ui);
        let error = self.error_of("data.sequence_length");
        let effective = self.session.run.scenario.data().sequence_length;
        if self.session.run.scenario.model().has_sequences() || error.is_some() {
            let value = &mut self.session.file.data.sequence_length;
            optional_ui(ui, "form.data.sequence", value, effective, 1..=1 << 20, error.as_deref());
        }
        egui::CollapsingHeader::new(t("form.model.more")).id_salt("model").show(ui, |ui| self.model_details_ui(ui));
        if self.architecture().is_decoder() {
            self.mixture_ui(ui);
            self.latent_ui(ui);
        }
    }

    fn model_preset_ui(&mut self, ui: &mut Ui) {
        let names: Vec<&str> = model::presets().keys().map(String::as_str).collect();
        let before = self.session.file.model.preset.clone();
        let error = self.error_of("model.preset");
        name_ui(ui, "form.model.preset", &names, &mut self.session.file.model.preset, error.as_deref());
        if self.session.file.model.preset != before {
            let preset = self.session.file.model.preset.take();
            self.session.file.model = ModelFile { preset, ..ModelFile::default() };
            self.session.file.data.sequence_length = None;
        }
    }

    /// The family as it is typed; until it is checked the one before has sizes to show.
    fn architecture(&self) -> Architecture {
        let file = &self.session.file.model;
        let of_preset = || file.preset.as_ref().and_then(|name| model::presets().get(name)?.architecture);
        file.architecture.or_else(of_preset).unwrap_or(self.session.run.scenario.model().architecture)
    }

    fn model_sizes_ui(&mut self, ui: &mut Ui) {
        let errors = ["layers", "hidden", "heads", "kv_heads", "ffn_hidden", "vocab"]
            .map(|field| self.error_of(&format!("model.{field}")));
        let architecture = self.architecture();
        let run = self.session.run.clone();
        let (file, effective) = (&mut self.session.file.model, run.scenario.model());
        let (transformer, decoder) = (architecture.is_transformer(), architecture.is_decoder());
        let fields = [
            (transformer, "form.model.layers", &mut file.layers, effective.layers, 1..=4096),
            (true, "form.model.hidden", &mut file.hidden, effective.hidden, 1..=1 << 18),
            (transformer, "form.model.heads", &mut file.heads, effective.heads, 1..=1024),
            (decoder, "form.model.kv_heads", &mut file.kv_heads, effective.kv_heads, 1..=1024),
            (transformer, "form.model.ffn_hidden", &mut file.ffn_hidden, effective.ffn_hidden, 1..=1 << 18),
            (
                decoder || architecture == Architecture::Bert,
                "form.model.vocab",
                &mut file.vocab,
                effective.vocab,
                1..=1 << 20,
            ),
        ];
        for ((shown, key, value, effective, range), error) in fields.into_iter().zip(errors) {
            // What is wrong is shown even where the family does not have it.
            if shown || error.is_some() {
                optional_ui(ui, key, value, effective, range, error.as_deref());
            }
        }
        self.samples_ui(ui, architecture);
    }

    fn model_details_ui(&mut self, ui: &mut Ui) {
        let errors = ["head_dim", "positions", "rope_theta", "dropout", "window", "window_interval"]
            .map(|field| self.error_of(&format!("model.{field}")));
        let architecture = self.architecture();
        let missing = self.error_of("model.architecture");
        let run = self.session.run.clone();
        let (file, effective) = (&mut self.session.file.model, run.scenario.model());
        let mut chosen = architecture;
        let options = Architecture::ALL.map(|family| (family, family.name()));
        named_ui(ui, "form.model.architecture", &mut chosen, &options, missing.as_deref());
        if chosen != architecture {
            file.architecture = Some(chosen);
        }
        let [head_dim, positions, theta, dropout, window, interval] = errors;
        if architecture.is_transformer() {
            let (value, now) = (&mut file.head_dim, effective.head_dim);
            optional_ui(ui, "form.model.head_dim", value, now, 2..=1024, head_dim.as_deref());
        }
        if effective.has_sequences() {
            let (value, now) = (&mut file.positions, effective.positions);
            optional_ui(ui, "form.model.positions", value, now, 1..=1 << 20, positions.as_deref());
        }
        if architecture.is_transformer() {
            let (value, now, drag) = (&mut file.dropout, effective.dropout, (0.0..=0.99, 0.01));
            optional_real_ui(ui, "form.model.dropout", value, now, drag, dropout.as_deref());
        }
        if architecture.is_decoder() {
            let now = effective.window.map_or(effective.positions, |window| window.tokens);
            optional_ui(ui, "form.model.window", &mut file.window, now, 1..=1 << 20, window.as_deref());
            if effective.window.is_some() || interval.is_some() {
                let (value, now) = (&mut file.window_interval, effective.window.map_or(0, |window| window.interval));
                optional_ui(ui, "form.model.window_interval", value, now, 0..=4096, interval.as_deref());
            }
            optional_flag_ui(ui, "form.model.tied", &mut file.tied_embeddings, effective.tied_embeddings);
        }
        if !effective.has_biases() {
            let (value, now, drag) = (&mut file.rope_theta, effective.rope_theta, (2.0..=1e12, 100.0));
            optional_real_ui(ui, "form.model.theta", value, now, drag, theta.as_deref());
        }
    }
}
