//! Memory over time: stacked by category, one chart per pipeline stage, with the device's capacity.

use egui::{Grid, Ui};
use egui_plot::{FilledArea, HLine, Plot};
use shardlab_engine::trace::{MemoryCategory, MemoryCurve, Origin};

use crate::gui::design_tokens::{capacity_stroke, memory_color};
use crate::gui::i18n::{t, t_or_name};
use crate::gui::inspector::fit_badge_ui;
use crate::gui::session::Run;
use crate::gui::widgets::{even_grid, origin_ui, right_ui, swatch_ui};

/// Height of a chart.
const HEIGHT: f32 = 240.0;
/// Samples of a curve that are drawn; between two of them the highest is kept.
const DRAWN: usize = 2000;

/// Draws the view.
pub fn ui(ui: &mut Ui, run: &Run) {
    egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        ui.horizontal(|ui| {
            fit_badge_ui(ui, run);
            origin_ui(ui, run.trace.origin);
        });
        ui.weak(t("memory.per_rank"));
        reserved_ui(ui, run);
        legend_ui(ui);
        let columns = if run.trace.memory.len() > 1 && ui.available_width() > 560.0 { 2 } else { 1 };
        for row in run.trace.memory.chunks(columns) {
            ui.columns(columns, |cells| {
                for (cell, curve) in cells.iter_mut().zip(row) {
                    chart_ui(cell, run, curve);
                }
            });
        }
        table_ui(ui, run);
    });
}

/// What a framework's allocator takes from the device, of a modelled step.
fn reserved_ui(ui: &mut Ui, run: &Run) {
    if run.trace.origin != Origin::Modelled {
        return;
    }
    let held = run.reserved();
    let share = format!("{:.1} %", held.fragmentation() * 100.0);
    let text =
        [("{stage}", run.report.fit.stage.to_string()), ("{reserved}", held.reserved.to_string()), ("{share}", share)]
            .into_iter()
            .fold(t("memory.reserved").to_owned(), |text, (mark, value)| text.replace(mark, &value));
    ui.weak(text).on_hover_text(t("memory.reserved.tip"));
}

fn legend_ui(ui: &mut Ui) {
    ui.horizontal_wrapped(|ui| {
        for category in MemoryCategory::ALL.into_iter().rev() {
            swatch_ui(ui, memory_color(category), t_or_name("memory", category.name()));
        }
        swatch_ui(ui, capacity_stroke(ui.visuals()).color, t("memory.capacity"));
    });
}

fn chart_ui(ui: &mut Ui, run: &Run, curve: &MemoryCurve) {
    ui.strong(format!("{} {}", t("timeline.stage"), curve.stage));
    let (xs, tops) = stacked(curve, run.trace.step_time.secs());
    let unit = unit(run);
    // All stages on one scale, so that they can be compared.
    let plot = Plot::new(("memory", curve.group)).height(HEIGHT).include_y(run.report.fit.needed.as_f64() / unit.1);
    let plot = even_grid(plot.include_y(0.0), ui.visuals());
    let plot = plot.allow_scroll(false).x_axis_label(t("axis.seconds")).y_axis_label(unit.0);
    let (capacity, line) = (run.report.fit.capacity.as_f64(), capacity_stroke(ui.visuals()));
    plot.show(ui, |plot| {
        for (category, pair) in MemoryCategory::ALL.into_iter().zip(tops.windows(2)) {
            let scaled = |values: &[f64]| values.iter().map(|value| value / unit.1).collect::<Vec<_>>();
            let area = FilledArea::new(t_or_name("memory", category.name()), &xs, &scaled(&pair[0]), &scaled(&pair[1]));
            plot.add(area.fill_color(memory_color(category)));
        }
        // A capacity far above the curve would flatten it.
        let peak = tops.last().and_then(|top| top.iter().copied().max_by(f64::total_cmp)).unwrap_or(0.0);
        if capacity < peak.max(1.0) * 4.0 {
            plot.hline(HLine::new(t("memory.capacity"), capacity / unit.1).stroke(line));
        }
    });
}

/// The unit in which the largest value is readable, with its bytes.
fn unit(run: &Run) -> (&'static str, f64) {
    match run.report.fit.needed.0 {
        0..=4_194_304 => ("KiB", 1024.0),
        4_194_305..=4_294_967_296 => ("MiB", 1_048_576.0),
        _ => ("GiB", 1_073_741_824.0),
    }
}

/// Seconds, and for every boundary between categories, from zero up to the total, the bytes at these seconds.
fn stacked(curve: &MemoryCurve, end: f64) -> (Vec<f64>, Vec<Vec<f64>>) {
    let (mut xs, mut tops) = (Vec::new(), vec![Vec::new(); MemoryCategory::ALL.len() + 1]);
    let mut put = |at: f64, used: &shardlab_engine::trace::MemoryUse| {
        xs.push(at);
        let mut sum = 0.0;
        tops[0].push(sum);
        for (top, category) in tops[1..].iter_mut().zip(MemoryCategory::ALL) {
            sum += used.get(category).as_f64();
            top.push(sum);
        }
    };
    let every = curve.samples.len().div_ceil(DRAWN).max(1);
    let mut before = None;
    for chunk in curve.samples.chunks(every) {
        let Some(highest) = chunk.iter().max_by_key(|sample| sample.used.total()) else { continue };
        // A sample holds until the next: a step, not a ramp.
        if let Some(used) = before.replace(highest.used) {
            put(chunk[0].at.secs(), &used);
        }
        put(chunk[0].at.secs(), &highest.used);
    }
    if let Some(used) = before {
        put(end, &used);
    }
    (xs, tops)
}

fn table_ui(ui: &mut Ui, run: &Run) {
    ui.separator();
    ui.strong(t("memory.peak"));
    Grid::new("memory table").striped(true).num_columns(7).spacing([20.0, 4.0]).show(ui, |ui| {
        ui.weak(t("timeline.stage"));
        for category in MemoryCategory::ALL {
            ui.weak(t_or_name("memory", category.name()));
        }
        ui.weak(t("memory.total"));
        ui.end_row();
        for peak in &run.report.peak_memory {
            ui.monospace(peak.stage.to_string());
            for category in MemoryCategory::ALL {
                right_ui(ui, &peak.used.get(category).to_string());
            }
            // The last column of a grid is as wide as there is room: what is aligned to its right stands far off.
            ui.monospace(peak.total.to_string());
            ui.end_row();
        }
    });
}
