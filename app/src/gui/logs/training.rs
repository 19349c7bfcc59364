//! Curves of training runs: loss, pace, norm of the gradients; what stands out is marked.

use std::sync::Arc;

use egui::{Grid, RichText, Ui};
use egui_plot::{Line, MarkerShape, Plot, PlotPoints, Points};
use shardlab_engine::analysis::LogEvent;
use shardlab_engine::report;
use shardlab_engine::trace::LogStep;

use super::OpenLog;
use crate::gui::design_tokens::{run_color, signals};
use crate::gui::found_once::{FoundOnce, Same};
use crate::gui::i18n::{t, t_with};
use crate::gui::session::Session;
use crate::gui::widgets::{even_grid, swatch_ui};

/// Points of a curve that are drawn.
const POINTS: usize = 3000;
/// Events that are listed.
const LISTED: usize = 8;

/// A column of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Seconds,
    Tokens,
    Tflops,
    Norm,
    Rate,
}

impl Column {
    const ALL: [Self; 5] = [Self::Seconds, Self::Tokens, Self::Tflops, Self::Norm, Self::Rate];

    fn key(self) -> &'static str {
        match self {
            Self::Seconds => "logs.seconds",
            Self::Tokens => "logs.tokens",
            Self::Tflops => "logs.tflops",
            Self::Norm => "logs.norm",
            Self::Rate => "logs.rate",
        }
    }

    fn of(self, step: &LogStep) -> Option<f64> {
        match self {
            Self::Seconds => step.seconds,
            Self::Tokens => step.tokens_per_s,
            Self::Tflops => step.tflops,
            Self::Norm => step.gradient_norm,
            Self::Rate => step.learning_rate,
        }
    }
}

/// Which curves are drawn.
#[derive(Debug)]
pub struct Curves {
    second: Column,
    log_scale: bool,
    /// What is drawn of all runs: loss, and the other column.
    drawn: [FoundOnce<DrawnKey, Vec<Vec<[f64; 2]>>>; 2],
}

/// Of which logs, of which column (loss where none), and whether by powers of ten.
type DrawnKey = (Vec<Same<OpenLog>>, Option<Column>, bool);

impl Default for Curves {
    fn default() -> Self {
        Self { second: Column::Seconds, log_scale: false, drawn: Default::default() }
    }
}

impl Curves {
    /// Draws the loss of all runs, and another column below it.
    pub fn ui(&mut self, ui: &mut Ui, logs: &[Arc<OpenLog>]) {
        ui.horizontal(|ui| {
            ui.label(t("logs.loss"));
            ui.checkbox(&mut self.log_scale, t("logs.log_scale"));
        });
        let is_log = self.log_scale;
        let scaled = |value: f64| if is_log { value.max(1e-9).log10() } else { value };
        let loss = |step: &LogStep| step.loss.filter(|loss| loss.is_finite()).map(scaled);
        let lines = self.drawn[0].get((same(logs), None, is_log), || lines_of(logs, &loss));
        chart_ui(ui, ("loss", is_log), logs, lines, &|log| {
            log.found.spikes.iter().map(|event| [event.step as f64, scaled(event.value)]).collect()
        });
        ui.horizontal_wrapped(|ui| {
            for column in Column::ALL {
                if logs.iter().any(|log| log.log.steps.iter().any(|step| column.of(step).is_some())) {
                    ui.selectable_value(&mut self.second, column, t(column.key()));
                }
            }
        });
        let column = self.second;
        let value = |step: &LogStep| column.of(step).filter(|value| value.is_finite());
        let lines = self.drawn[1].get((same(logs), Some(column), false), || lines_of(logs, &value));
        chart_ui(ui, ("second", false), logs, lines, &|log| match column {
            Column::Seconds => log.found.stalls.iter().map(|event| [event.step as f64, event.value]).collect(),
            _ => Vec::new(),
        });
    }
}

fn same(logs: &[Arc<OpenLog>]) -> Vec<Same<OpenLog>> {
    logs.iter().map(|log| Same(Arc::clone(log))).collect()
}

fn lines_of(logs: &[Arc<OpenLog>], value: &dyn Fn(&LogStep) -> Option<f64>) -> Vec<Vec<[f64; 2]>> {
    logs.iter().map(|log| thinned(log, value)).collect()
}

fn chart_ui(
    ui: &mut Ui,
    (id, is_log): (&'static str, bool),
    logs: &[Arc<OpenLog>],
    lines: &[Vec<[f64; 2]>],
    marked: &dyn Fn(&OpenLog) -> Vec<[f64; 2]>,
) {
    let plot = even_grid(Plot::new(id).height(210.0), ui.visuals()).allow_scroll(false);
    let plot = if is_log { plot.y_axis_formatter(|mark, _| format!("{:.3}", 10_f64.powf(mark.value))) } else { plot };
    let bad = signals(ui.visuals()).bad;
    plot.x_axis_label(t("logs.step")).show(ui, |plot| {
        for (number, (log, line)) in logs.iter().zip(lines).enumerate() {
            let line = Line::new(log.name.clone(), PlotPoints::from(line.clone()));
            plot.line(line.color(run_color(number + 1)).width(1.4));
            let points = Points::new(t("logs.marked"), PlotPoints::from(marked(log)));
            plot.points(points.radius(4.0).color(bad).shape(MarkerShape::Cross));
        }
    });
}

/// Of many steps the lowest and the highest of every few, so that nothing that stands out is lost.
fn thinned(log: &OpenLog, value: &dyn Fn(&LogStep) -> Option<f64>) -> Vec<[f64; 2]> {
    let all: Vec<[f64; 2]> = log.log.steps.iter().filter_map(|step| Some([step.step as f64, value(step)?])).collect();
    if all.len() <= POINTS {
        return all;
    }
    let every = all.len().div_ceil(POINTS / 2);
    let mut points = Vec::with_capacity(POINTS);
    for chunk in all.chunks(every) {
        let low = chunk.iter().min_by(|a, b| a[1].total_cmp(&b[1]));
        let high = chunk.iter().max_by(|a, b| a[1].total_cmp(&b[1]));
        let mut both: Vec<[f64; 2]> = low.into_iter().chain(high).copied().collect();
        both.sort_by(|a, b| a[0].total_cmp(&b[0]));
        points.extend(both);
    }
    points
}

/// The figures of a run; whether it is to be closed.
pub fn log_ui(ui: &mut Ui, number: usize, log: &OpenLog, session: &mut Session) -> bool {
    let found = &log.found;
    let closed = ui
        .horizontal_wrapped(|ui| {
            swatch_ui(ui, run_color(number + 1), &log.name);
            ui.weak(format!("{} · {}", log.log.framework, t_with("logs.steps", log.log.steps.len())));
            if ui.button(t("logs.save")).clicked() {
                session.save(format!("{}.csv", log.name), report::training_log_csv(&log.log));
            }
            ui.small_button("×").on_hover_text(t("traces.close")).clicked()
        })
        .inner;
    Grid::new(("log", number)).num_columns(2).show(ui, |ui| {
        let mut row = |key: &'static str, value: Option<f64>| {
            if let Some(value) = value {
                ui.label(t(key));
                let decimals = if value.abs() < 10.0 { 4 } else { 1 };
                ui.monospace(format!("{value:.decimals$}"));
                ui.end_row();
            }
        };
        row("logs.last_loss", log.log.steps.iter().rev().find_map(|step| step.loss));
        row("logs.median_seconds", found.median_seconds);
        row("logs.median_tokens", found.median_tokens_per_s);
        row("logs.median_tflops", found.median_tflops);
        row("logs.stalled", Some(found.stalled_seconds).filter(|lost| *lost > 0.0));
    });
    events_ui(ui, "logs.stalls", &found.stalls);
    events_ui(ui, "logs.spikes", &found.spikes);
    if !found.not_finite.is_empty() {
        let steps: Vec<String> = found.not_finite.iter().take(LISTED).map(ToString::to_string).collect();
        ui.colored_label(signals(ui.visuals()).bad, t_with("logs.not_finite", steps.join(", ")));
    }
    if found.skipped > 0 {
        ui.colored_label(signals(ui.visuals()).warn, t_with("logs.skipped", found.skipped));
    }
    closed
}

fn events_ui(ui: &mut Ui, key: &'static str, events: &[LogEvent]) {
    if events.is_empty() {
        return;
    }
    let shown: Vec<String> = events
        .iter()
        .take(LISTED)
        .map(|event| format!("{} ({:.3} / {:.3})", event.step, event.value, event.usual))
        .collect();
    let more = if events.len() > LISTED { " …" } else { "" };
    ui.horizontal_wrapped(|ui| {
        ui.label(RichText::new(t_with(key, events.len())).color(signals(ui.visuals()).warn));
        ui.weak(format!("{}{more}", shown.join(", ")));
    });
}
