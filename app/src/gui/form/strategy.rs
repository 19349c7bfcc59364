//! Fields of the strategy and of an execution.

use egui::{DragValue, Ui};
use shardlab_engine::scenario::{DATASETS, PipelineSchedule, Precision, Recompute};

use super::Form;
use super::fields::{choice_ui, flag_ui, name_ui, number_ui, optional_ui, quantity_ui, real_ui, row_ui};
use crate::gui::i18n::t;
use crate::gui::widgets::heading_ui;

impl Form<'_> {
    /// Draws the fields of the strategy.
    pub(super) fn strategy_ui(&mut self, ui: &mut Ui) {
        heading_ui(ui, t("form.strategy"));
        self.axes_ui(ui);
        self.batch_ui(ui);
        let s = &mut self.session.file.strategy;
        let precisions = [(Precision::Bf16, "form.precision.bf16"), (Precision::Fp32, "form.precision.fp32")];
        choice_ui(ui, "form.strategy.precision", &mut s.precision, &precisions);
        let policies = [(Recompute::None, "form.recompute.none"), (Recompute::Full, "form.recompute.full")];
        choice_ui(ui, "form.strategy.recompute", &mut s.recompute, &policies);
        flag_ui(ui, "form.strategy.overlap", &mut s.overlap_gradients);
        let effective = self.session.run.scenario.strategy().bucket;
        let error = self.error_of("strategy.bucket");
        let value = &mut self.session.file.strategy.bucket;
        quantity_ui(ui, "form.strategy.bucket", value, &mut self.state.typed, effective, error.as_deref());
    }

    fn axes_ui(&mut self, ui: &mut Ui) {
        let paths = ["data_parallel", "tensor_parallel", "sequence_parallel", "pipeline_parallel"];
        let errors = paths.map(|path| self.error_of(&format!("strategy.{path}")));
        let [dp, tp, sp, pp] = errors.each_ref().map(Option::as_deref);
        let effective = self.session.run.scenario.strategy().data_parallel;
        let s = &mut self.session.file.strategy;
        optional_ui(ui, "form.strategy.dp", &mut s.data_parallel, effective, 1..=1 << 16, dp);
        number_ui(ui, "form.strategy.tp", &mut s.tensor_parallel, 1..=1024, tp);
        row_ui(ui, "form.strategy.sp", sp, |ui| ui.checkbox(&mut s.sequence_parallel, ""));
        number_ui(ui, "form.strategy.pp", &mut s.pipeline_parallel, 1..=4096, pp);
        let schedules =
            [(PipelineSchedule::OneFOneB, "form.schedule.1f1b"), (PipelineSchedule::GPipe, "form.schedule.gpipe")];
        choice_ui(ui, "form.strategy.schedule", &mut s.schedule, &schedules);
    }

    fn batch_ui(&mut self, ui: &mut Ui) {
        let errors = ["micro_batch", "global_batch"].map(|path| self.error_of(&format!("strategy.{path}")));
        let [micro, global] = errors.each_ref().map(Option::as_deref);
        let s = &mut self.session.file.strategy;
        number_ui(ui, "form.strategy.micro", &mut s.micro_batch, 1..=1 << 16, micro);
        number_ui(ui, "form.strategy.global", &mut s.global_batch, 1..=1 << 24, global);
    }

    /// Draws the fields of an execution.
    pub(super) fn training_ui(&mut self, ui: &mut Ui) {
        heading_ui(ui, t("form.run"));
        let run = &mut self.session.file.run;
        number_ui(ui, "form.run.steps", &mut run.steps, 1..=1_000_000, None);
        real_ui(ui, "form.run.rate", &mut run.learning_rate, 0.0..=1.0, 1e-4);
        real_ui(ui, "form.run.decay", &mut run.weight_decay, 0.0..=1.0, 1e-2);
        real_ui(ui, "form.run.clip", &mut run.gradient_clip, 0.0..=1e6, 1e-2);
        let effective = self.session.run.scenario.data().dataset.clone();
        let error = self.error_of("data.dataset");
        let value = &mut self.session.file.data.dataset;
        let mut chosen = value.clone().or(Some(effective.clone()));
        name_ui(ui, "form.data.dataset", DATASETS, &mut chosen, error.as_deref());
        if chosen.as_ref() != Some(&effective) {
            *value = chosen;
        }
        let run = &mut self.session.file.run;
        row_ui(ui, "form.run.seed", None, |ui| ui.add(DragValue::new(&mut run.seed).speed(0.1)));
    }
}
