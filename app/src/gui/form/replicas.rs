//! Fields of what replicas share and what they send each other: sharding, buckets, compression, the rule of updates.

use egui::Ui;
use shardlab_engine::scenario::{Compression, Place, UpdateName, UpdateRule};

use super::Form;
use super::fields::{choice_ui, flag_ui, named_ui, number_ui, optional_real_ui, optional_ui, quantity_ui};
use crate::gui::widgets::error_ui;

impl Form<'_> {
    /// Draws them.
    pub(super) fn replicas_ui(&mut self, ui: &mut Ui) {
        flag_ui(ui, "form.strategy.overlap", &mut self.session.file.strategy.overlap_gradients);
        self.sharding_ui(ui);
        let effective = self.session.run.scenario.strategy().bucket;
        let error = self.error_of("strategy.bucket");
        let value = &mut self.session.file.strategy.bucket;
        quantity_ui(ui, "form.strategy.bucket", value, &mut self.state.typed, effective, error.as_deref());
        self.offload_ui(ui);
        self.update_ui(ui);
        self.compression_ui(ui);
    }

    /// What is sharded over the replicas, and how it is gathered.
    fn sharding_ui(&mut self, ui: &mut Ui) {
        let errors =
            ["zero_stage", "sharding_group", "prefetch"].map(|path| self.error_of(&format!("strategy.{path}")));
        let [stage, group, prefetch] = errors.each_ref().map(Option::as_deref);
        let effective = self.session.run.scenario.strategy().copies();
        let s = &mut self.session.file.strategy;
        let stages = [(0, "form.zero.0"), (1, "form.zero.1"), (2, "form.zero.2"), (3, "form.zero.3")];
        choice_ui(ui, "form.strategy.zero", &mut s.zero_stage, &stages);
        if let Some(error) = stage {
            error_ui(ui, error);
        }
        if s.zero_stage == 0 {
            return;
        }
        optional_ui(ui, "form.strategy.group", &mut s.sharding_group, effective, 1..=1 << 16, group);
        if s.zero_stage < 3 {
            flag_ui(ui, "form.strategy.overlap_parameters", &mut s.overlap_parameters);
        } else {
            number_ui(ui, "form.strategy.prefetch", &mut s.prefetch, 0..=64, prefetch);
            flag_ui(ui, "form.strategy.reshard", &mut s.reshard_after_forward);
        }
    }

    /// What lives outside the device.
    fn offload_ui(&mut self, ui: &mut Ui) {
        let paths = ["offload_optimizer", "offload_parameters", "offload_activations"];
        let errors = paths.map(|path| self.error_of(&format!("strategy.{path}")));
        let [optimizer, parameters, activations] = errors.each_ref().map(Option::as_deref);
        let s = &mut self.session.file.strategy;
        let places = Place::ALL.map(|place| (place, place.name()));
        named_ui(ui, "form.strategy.offload_optimizer", &mut s.offload_optimizer, &places, optimizer);
        if s.zero_stage == 3 || s.offload_parameters != Place::Device {
            named_ui(ui, "form.strategy.offload_parameters", &mut s.offload_parameters, &places, parameters);
        }
        let (key, value) = ("form.strategy.offload_activations", &mut s.offload_activations);
        number_ui(ui, key, value, 0..=4096, activations);
        flag_ui(ui, "form.strategy.compress_activations", &mut s.compress_activations);
    }

    /// The rule by which gradients of other replicas reach the parameters.
    fn update_ui(&mut self, ui: &mut Ui) {
        let errors = ["staleness", "sync_interval"].map(|path| self.error_of(&format!("strategy.{path}")));
        let [staleness, interval] = errors.each_ref().map(Option::as_deref);
        let effective = self.session.run.scenario.strategy().update;
        let s = &mut self.session.file.strategy;
        let rules = UpdateName::ALL.map(|rule| (rule, rule.name()));
        named_ui(ui, "form.strategy.update", &mut s.update, &rules, None);
        match s.update {
            UpdateName::BoundedStaleness => {
                let now = if let UpdateRule::BoundedStaleness { steps } = effective { steps } else { 1 };
                optional_ui(ui, "form.strategy.staleness", &mut s.staleness, now, 1..=64, staleness);
            }
            UpdateName::LocalSgd => {
                let now = if let UpdateRule::LocalSgd { interval } = effective { interval } else { None };
                let now = now.unwrap_or(shardlab_engine::scenario::update_rule::DEFAULT_INTERVAL);
                optional_ui(ui, "form.strategy.sync_interval", &mut s.sync_interval, now, 1..=1 << 20, interval);
            }
            UpdateName::Synchronous | UpdateName::Asynchronous => {}
        }
    }

    /// What is done to gradients before they are summed.
    fn compression_ui(&mut self, ui: &mut Ui) {
        let paths = ["gradient_compression", "compression_share", "compression_rank"];
        let errors = paths.map(|path| self.error_of(&format!("strategy.{path}")));
        let [way, share, rank] = errors.each_ref().map(Option::as_deref);
        let run = self.session.run.clone();
        let (s, effective) = (&mut self.session.file.strategy, run.scenario.strategy());
        let ways = Compression::ALL.map(|way| (way, way.name()));
        named_ui(ui, "form.strategy.compression", &mut s.gradient_compression, &ways, way);
        match s.gradient_compression {
            Compression::TopK => {
                let (value, now) = (&mut s.compression_share, effective.compression_share);
                optional_real_ui(ui, "form.strategy.compression_share", value, now, (1e-6..=1.0, 1e-3), share);
            }
            Compression::LowRank => {
                let (value, now) = (&mut s.compression_rank, effective.compression_rank);
                optional_ui(ui, "form.strategy.compression_rank", value, now, 1..=1024, rank);
            }
            _ => {}
        }
    }
}
