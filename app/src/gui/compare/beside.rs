//! Predicted beside executed times, by class of op and by op.

use egui::{CollapsingHeader, Grid, ScrollArea, Ui};
use shardlab_engine::compare::{Comparison, OpComparison};
use shardlab_engine::units::Nanos;

use crate::gui::i18n::{t, t_or_name};

/// Height of the rows of ops that are seen at once.
const SEEN: f32 = 320.0;

/// Every class, and all of them.
pub(super) fn classes_ui(ui: &mut Ui, result: &Comparison) {
    Grid::new("prediction").num_columns(4).striped(true).min_col_width(110.0).show(ui, |ui| {
        ui.strong(t("compare.class"));
        heads_ui(ui);
        ui.end_row();
        for row in &result.rows {
            ui.label(t_or_name("class", row.class));
            times_ui(ui, row.predicted, row.executed, row.ratio());
            ui.end_row();
        }
        ui.strong(t("compare.all_ranks"));
        times_ui(ui, result.predicted_step, result.executed_step, Some(result.ratio()));
        ui.end_row();
    });
}

/// Every op, those of all layers in one row.
pub(super) fn ops_ui(ui: &mut Ui, ops: &[OpComparison]) {
    CollapsingHeader::new(t("compare.by_op")).show(ui, |ui| {
        ScrollArea::both().max_height(SEEN).auto_shrink([true, true]).show(ui, |ui| {
            Grid::new("prediction ops").num_columns(6).striped(true).show(ui, |ui| {
                ui.strong(t("compare.op"));
                ui.strong(t("roofline.phase"));
                ui.strong(t("compare.times"));
                heads_ui(ui);
                ui.end_row();
                for row in ops {
                    op_ui(ui, row);
                }
            });
        });
    });
}

fn op_ui(ui: &mut Ui, row: &OpComparison) {
    ui.label(&row.name);
    match row.phase {
        Some(phase) => ui.label(t_or_name("part", phase.name())),
        None => ui.label(t_or_name("class", row.class)),
    };
    ui.monospace(row.count.to_string());
    times_ui(ui, row.predicted, row.executed, row.ratio());
    ui.end_row();
}

fn heads_ui(ui: &mut Ui) {
    for key in ["compare.predicted", "compare.executed", "compare.ratio"] {
        ui.strong(t(key));
    }
}

/// Both times, and their ratio where something was predicted.
fn times_ui(ui: &mut Ui, predicted: Nanos, executed: Nanos, ratio: Option<f64>) {
    ui.monospace(predicted.to_string());
    ui.monospace(executed.to_string());
    ui.monospace(ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}")));
}
