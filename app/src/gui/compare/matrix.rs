//! Figures and settings of several runs as a matrix, the best of each row marked.

use std::sync::Arc;

use egui::{Grid, RichText, Ui};
use shardlab_engine::analysis::Measure;
use shardlab_engine::report::{Variant, best_of, change_text, compared_rows, value_text};
use shardlab_engine::search::Setting;

use crate::gui::design_tokens::signals;
use crate::gui::i18n::{t, t_or_name};
use crate::gui::pinned::Pinned;
use crate::gui::widgets::{heading_ui, swatch_ui};

/// Letters of a name in a head.
const LETTERS: usize = 24;

/// Draws the figures.
pub fn figures_ui(ui: &mut Ui, variants: &[Variant]) {
    ui.weak(t("compare.marks"));
    Grid::new("matrix").striped(true).num_columns(variants.len() + 1).spacing([18.0, 3.0]).show(ui, |ui| {
        ui.weak(t("compare.figure"));
        for (number, variant) in variants.iter().enumerate() {
            head_ui(ui, number, &variant.name);
        }
        ui.end_row();
        for row in compared_rows(variants) {
            ui.label(measure_name(variants[0].measures[row].key));
            let best = best_of(variants, row);
            for (number, variant) in variants.iter().enumerate() {
                let base = variants[0].measures[row].value.filter(|_| number > 0);
                cell_ui(ui, &variant.measures[row], base, best.contains(&number));
            }
            ui.end_row();
        }
    });
}

/// What a figure is called: a part of the step, or a figure of its own.
pub fn measure_name(key: &'static str) -> &'static str {
    let name = t_or_name("measure", key);
    if name == key { t_or_name("part", key) } else { name }
}

fn head_ui(ui: &mut Ui, number: usize, name: &str) {
    ui.horizontal(|ui| {
        let mut short: String = name.chars().take(LETTERS).collect();
        if short.len() < name.len() {
            short.push('…');
        }
        swatch_ui(ui, Pinned::color(number), &short);
    })
    .response
    .on_hover_text(name);
}

fn cell_ui(ui: &mut Ui, measure: &Measure, base: Option<f64>, is_best: bool) {
    let Some(value) = measure.value else {
        ui.weak("—");
        return;
    };
    ui.horizontal(|ui| {
        let text = RichText::new(measure.text(value)).monospace();
        ui.label(if is_best { text.strong().underline() } else { text });
        let Some(base) = base.filter(|base| *base != value) else { return };
        let colors = signals(ui.visuals());
        let change = RichText::new(change_text(measure, base, value)).small();
        let change = match (measure.prefers(value, base), measure.prefers(base, value)) {
            (true, _) => change.color(colors.good),
            (_, true) => change.color(colors.bad),
            _ => change,
        };
        ui.label(change);
    });
}

/// Draws the settings in which scenarios differ.
pub fn settings_ui(ui: &mut Ui, settings: &[Setting], columns: &[Arc<Pinned>]) {
    if settings.is_empty() {
        return;
    }
    heading_ui(ui, t("compare.settings"));
    Grid::new("settings").striped(true).num_columns(columns.len() + 1).spacing([18.0, 3.0]).show(ui, |ui| {
        ui.label("");
        for (number, column) in columns.iter().enumerate() {
            head_ui(ui, number, &column.name);
        }
        ui.end_row();
        for setting in settings {
            ui.monospace(&setting.path);
            for value in &setting.values {
                if value.is_null() {
                    ui.weak(t("compare.default"));
                } else {
                    ui.monospace(value_text(value));
                }
            }
            ui.end_row();
        }
    });
}
