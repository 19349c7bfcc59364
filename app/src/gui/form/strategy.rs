//! Fields of the strategy and of an execution.

use egui::{DragValue, Ui};
use shardlab_engine::cluster::MeshAxis;
use shardlab_engine::scenario::pipeline::slots;
use shardlab_engine::scenario::{
    AttentionKernel, ChunkLayout, GradientFormat, Kernels, Optimizer, Precision, Recompute, RecomputeModule, Scenario,
    ScheduleName, StrategyFile, datasets,
};

use super::Form;
use super::fields::{
    choice_ui, flag_ui, list_ui, name_ui, named_ui, number_ui, optional_ui, quantity_ui, real_ui, row_ui,
};
use crate::gui::i18n::{t, t_or_name, t_with};
use crate::gui::widgets::{error_ui, heading_ui};

impl Form<'_> {
    /// Draws the fields of the strategy.
    pub(super) fn strategy_ui(&mut self, ui: &mut Ui) {
        heading_ui(ui, t("form.strategy"));
        self.axes_ui(ui);
        self.batch_ui(ui);
        let s = &mut self.session.file.strategy;
        let precisions = Precision::ALL.map(|precision| (precision, precision_key(precision)));
        choice_ui(ui, "form.strategy.precision", &mut s.precision, &precisions);
        if !matches!(s.precision, Precision::Fp32 | Precision::Tf32) {
            let formats = [
                (GradientFormat::Fp32, "form.gradients.fp32"),
                (GradientFormat::Compute, "form.gradients.compute"),
                (GradientFormat::Both, "form.gradients.both"),
            ];
            choice_ui(ui, "form.strategy.gradients", &mut s.gradient_format, &formats);
        }
        let error = self.error_of("strategy.optimizer");
        let s = &mut self.session.file.strategy;
        named_ui(ui, "form.strategy.optimizer", &mut s.optimizer, &optimizers(), error.as_deref());
        let kernels = [
            (AttentionKernel::Flash, "form.attention.flash"),
            (AttentionKernel::Flash2, "form.attention.flash_2"),
            (AttentionKernel::Unfused, "form.attention.unfused"),
        ];
        choice_ui(ui, "form.strategy.attention", &mut s.attention, &kernels);
        let kernels = [(Kernels::Fused, "form.kernels.fused"), (Kernels::Eager, "form.kernels.eager")];
        choice_ui(ui, "form.strategy.kernels", &mut s.kernels, &kernels);
        let policies = [
            (Recompute::None, "form.recompute.none"),
            (Recompute::Selective, "form.recompute.selective"),
            (Recompute::Full, "form.recompute.full"),
            (Recompute::Budget, "form.recompute.budget"),
        ];
        choice_ui(ui, "form.strategy.recompute", &mut s.recompute, &policies);
        match s.recompute {
            Recompute::Full => number_ui(ui, "form.strategy.interval", &mut s.recompute_interval, 1..=4096, None),
            Recompute::Selective => modules_ui(ui, &mut s.recompute_modules),
            Recompute::Budget => self.budget_ui(ui),
            Recompute::None => {}
        }
        let s = &mut self.session.file.strategy;
        flag_ui(ui, "form.strategy.graphs", &mut s.cuda_graphs);
        self.replicas_ui(ui);
    }

    /// The memory by which layers are chosen, and how many they are.
    fn budget_ui(&mut self, ui: &mut Ui) {
        let error = self.error_of("strategy.recompute_budget");
        let run = self.session.run.clone();
        let (effective, typed) = (run.scenario.strategy().recompute_budget, &mut self.state.typed);
        let value = &mut self.session.file.strategy.recompute_budget;
        quantity_ui(ui, "form.strategy.budget", value, typed, effective, error.as_deref());
        ui.weak(t_with("form.strategy.budget.layers", run.report.repeated_layers));
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
        if s.sequence_parallel || s.keep_gathered {
            flag_ui(ui, "form.strategy.keep_gathered", &mut s.keep_gathered);
        }
        let chunks = self.error_of("strategy.tensor_chunks");
        let s = &mut self.session.file.strategy;
        if s.tensor_parallel > 1 || s.tensor_chunks > 1 {
            number_ui(ui, "form.strategy.tensor_chunks", &mut s.tensor_chunks, 1..=64, chunks.as_deref());
        }
        self.spread_ui(ui);
        let s = &mut self.session.file.strategy;
        number_ui(ui, "form.strategy.pp", &mut s.pipeline_parallel, 1..=4096, pp);
        self.schedule_ui(ui);
        self.order_ui(ui);
    }

    /// The order in which axes fill the devices, where there is more than one axis.
    fn order_ui(&mut self, ui: &mut Ui) {
        let mesh = self.session.run.scenario.mesh();
        if [mesh.pp, mesh.dp, mesh.cp, mesh.tp].iter().filter(|&&ranks| ranks > 1).count() < 2 {
            return;
        }
        let effective = self.session.run.scenario.strategy().rank_order;
        let error = self.error_of("strategy.rank_order");
        let mut order = effective;
        named_ui(ui, "form.strategy.order", &mut order, &ORDERS, error.as_deref());
        if order != effective {
            let named = if order == MeshAxis::ALL { Vec::new() } else { order.to_vec() };
            self.session.file.strategy.rank_order = named;
        }
    }

    fn schedule_ui(&mut self, ui: &mut Ui) {
        let paths = ["virtual_stages", "stage_layers", "custom_schedule"];
        let errors = paths.map(|path| self.error_of(&format!("strategy.{path}")));
        let [chunks, layers, custom] = errors.each_ref().map(Option::as_deref);
        let beside = self.error_of("strategy.overlap_micro_batches");
        let run = self.session.run.clone();
        let (s, typed) = (&mut self.session.file.strategy, &mut self.state.typed);
        let schedules = ScheduleName::ALL.map(|name| (name, schedule_key(name)));
        let before = s.schedule;
        choice_ui(ui, "form.strategy.schedule", &mut s.schedule, &schedules);
        if s.schedule != before {
            reset_order(s, &run.scenario);
        }
        if matches!(s.schedule, ScheduleName::OneFOneB | ScheduleName::Interleaved) || s.overlap_micro_batches {
            let key = "form.strategy.beside";
            row_ui(ui, key, beside.as_deref(), |ui| ui.checkbox(&mut s.overlap_micro_batches, ""));
        }
        if matches!(s.schedule, ScheduleName::Interleaved | ScheduleName::Custom) {
            let effective = run.scenario.strategy().virtual_stages;
            optional_ui(ui, "form.strategy.chunks", &mut s.virtual_stages, effective, 1..=64, chunks);
        }
        if s.schedule == ScheduleName::Custom {
            let layouts = [(ChunkLayout::Loop, "form.layout.loop"), (ChunkLayout::V, "form.layout.v")];
            choice_ui(ui, "form.strategy.layout", &mut s.chunk_layout, &layouts);
            slots_ui(ui, &mut s.custom_schedule, custom);
        }
        let effective = &run.scenario.strategy().stage_layers;
        list_ui(ui, "form.strategy.layers", &mut s.stage_layers, typed, effective, layers);
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
        let suitable = datasets(self.session.run.scenario.model());
        name_ui(ui, "form.data.dataset", suitable, &mut chosen, error.as_deref());
        if chosen.as_ref() != Some(&effective) {
            *value = chosen;
        }
        let run = &mut self.session.file.run;
        row_ui(ui, "form.run.seed", None, |ui| ui.add(DragValue::new(&mut run.seed).speed(0.1)));
    }
}

fn optimizers() -> [(Optimizer, &'static str); 7] {
    Optimizer::ALL.map(|optimizer| (optimizer, optimizer.name()))
}

/// Orders that are in use; a file may have any.
const ORDERS: [([MeshAxis; 4], &str); 6] = {
    use MeshAxis::{Cp, Dp, Pp, Tp};
    [
        ([Tp, Cp, Dp, Pp], "tp, cp, dp, pp"),
        ([Tp, Cp, Pp, Dp], "tp, cp, pp, dp"),
        ([Tp, Pp, Cp, Dp], "tp, pp, cp, dp"),
        ([Cp, Tp, Dp, Pp], "cp, tp, dp, pp"),
        ([Dp, Tp, Cp, Pp], "dp, tp, cp, pp"),
        ([Pp, Tp, Cp, Dp], "pp, tp, cp, dp"),
    ]
};

/// The parts of a layer that are computed again; attention's scores where none is named.
fn modules_ui(ui: &mut Ui, modules: &mut Vec<RecomputeModule>) {
    ui.label(t("form.strategy.modules")).on_hover_text(t("form.strategy.modules.tip"));
    ui.horizontal_wrapped(|ui| {
        for module in RecomputeModule::ALL {
            let mut on = modules.contains(&module);
            if ui.checkbox(&mut on, t_or_name("form.module", module.name())).changed() {
                modules.retain(|other| *other != module);
                if on {
                    modules.push(module);
                }
            }
        }
    });
}

fn precision_key(precision: Precision) -> &'static str {
    match precision {
        Precision::Fp32 => "form.precision.fp32",
        Precision::Tf32 => "form.precision.tf32",
        Precision::Fp16 => "form.precision.fp16",
        Precision::Bf16 => "form.precision.bf16",
        Precision::Fp8 => "form.precision.fp8",
        Precision::Fp8Block => "form.precision.fp8_block",
        Precision::Nvfp4 => "form.precision.nvfp4",
    }
}

fn schedule_key(name: ScheduleName) -> &'static str {
    match name {
        ScheduleName::GPipe => "form.schedule.gpipe",
        ScheduleName::OneFOneB => "form.schedule.1f1b",
        ScheduleName::Interleaved => "form.schedule.interleaved",
        ScheduleName::ZeroBubbleH1 => "form.schedule.zb-h1",
        ScheduleName::ZeroBubbleH2 => "form.schedule.zb-h2",
        ScheduleName::ZeroBubbleV => "form.schedule.zb-v",
        ScheduleName::DualPipeV => "form.schedule.dualpipe-v",
        ScheduleName::DualPipe => "form.schedule.dualpipe",
        ScheduleName::Custom => "form.schedule.custom",
    }
}

/// What belongs to the schedule before goes; an order of one's own starts as the order the scenario has now, with
/// its chunks and where they lie.
fn reset_order(file: &mut StrategyFile, scenario: &Scenario) {
    (file.virtual_stages, file.chunk_layout, file.custom_schedule) = (None, ChunkLayout::default(), Vec::new());
    file.overlap_micro_batches &= matches!(file.schedule, ScheduleName::OneFOneB | ScheduleName::Interleaved);
    if file.schedule == ScheduleName::Custom {
        let layout = scenario.strategy().layout();
        file.virtual_stages = Some(layout.chunks).filter(|&chunks| chunks > 1);
        file.chunk_layout = layout.layout;
        file.custom_schedule = current_slots(scenario);
    }
}

/// The schedule on screen written out.
fn current_slots(scenario: &Scenario) -> Vec<String> {
    let strategy = scenario.strategy();
    let slots = slots(&strategy.schedule, strategy.layout(), scenario.micro_batches(), strategy.overlap_micro_batches);
    slots.iter().map(|stage| stage.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")).collect()
}

/// The slots of every stage as text.
fn slots_ui(ui: &mut Ui, stages: &mut [String], error: Option<&str>) {
    ui.label(t("form.strategy.custom")).on_hover_text(t("form.strategy.custom.tip"));
    for stage in stages {
        ui.add(egui::TextEdit::multiline(stage).desired_rows(1).desired_width(f32::INFINITY).code_editor());
    }
    if let Some(error) = error {
        error_ui(ui, error);
    }
}

#[cfg(test)]
mod tests {
    use shardlab_engine::scenario::{ScenarioFile, check, preset_file};

    use super::*;

    fn preset(name: &str) -> ScenarioFile {
        preset_file(name).expect("shipped")
    }

    #[test]
    fn an_order_of_ones_own_starts_as_the_order_before() {
        for name in ["gpt3-175b-interleaved-1024xa100", "gpt-zero-bubble-8xa100", "gpt3-175b-1024xa100"] {
            let mut file = preset(name);
            let before = check(&file).expect("shipped scenarios are valid");
            file.strategy.schedule = ScheduleName::Custom;
            reset_order(&mut file.strategy, &before);
            let after = check(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(current_slots(&after), current_slots(&before), "{name}");
            assert_eq!(after.strategy().layout(), before.strategy().layout(), "{name}");
        }
    }

    #[test]
    fn nothing_of_an_order_of_ones_own_stays_in_the_next_schedule() {
        let mut file = preset("gpt-zero-bubble-8xa100");
        let shipped = file.clone();
        let before = check(&file).expect("shipped scenarios are valid");
        file.strategy.schedule = ScheduleName::Custom;
        reset_order(&mut file.strategy, &before);
        file.strategy.schedule = shipped.strategy.schedule;
        reset_order(&mut file.strategy, &before);
        assert_eq!(file, shipped);
    }
}
