//! A long run: where its time goes between steps, checkpoints and failures, and the interval and the way that lose least.

use std::sync::Arc;

use egui::{Grid, Ui};
use egui_plot::{Corner, GridMark, Legend, Line, LineStyle, Plot, PlotPoints, Points, VLine};
use shardlab_engine::analysis::{GoodputReport, ModeReport};
use shardlab_engine::report;
use shardlab_engine::scenario::resilience::CheckpointMode;
use shardlab_engine::trace::Origin;
use shardlab_engine::units::Nanos;

use super::design_tokens::{capacity_stroke, job_part_color, mode_color, signals};
use super::i18n::{t, t_or_name, t_with};
use super::job::{Job, Message};
use super::moving::MovingView;
use super::session::{Run, Session};
use super::widgets::{even_grid, heading_ui, origin_ui, right_ui, stacked_bar_ui, swatch_ui};

/// Height of the chart.
const HEIGHT: f32 = 300.0;

/// What becomes of a long run of the scenario on screen.
#[derive(Debug, Default)]
pub struct StorageView {
    job: Option<Job>,
    report: Option<Box<GoodputReport>>,
    /// Which run the report is of.
    of: Option<Arc<Run>>,
    /// Whether what is handed to many nodes is shown instead.
    show_moving: bool,
    moving: MovingView,
}

impl StorageView {
    /// Shows what is handed to many nodes, or the long run.
    pub fn show_moving(&mut self, moving: bool) {
        self.show_moving = moving;
    }

    /// What tests read.
    pub fn state(&self) -> serde_json::Value {
        let report = self.report.as_ref();
        serde_json::json!({
            "running": self.is_running(),
            "goodput": report.map(|report| report.chosen.time.goodput()),
            "interval": report.map(|report| report.chosen.interval),
            "moving": self.moving.state(),
        })
    }

    fn is_running(&self) -> bool {
        self.job.as_ref().is_some_and(Job::is_running)
    }

    /// Takes what the job has told; returns errors.
    pub fn receive(&mut self) -> Vec<String> {
        let messages = self.job.as_mut().map(Job::receive).unwrap_or_default();
        let mut errors = Vec::new();
        for message in messages {
            match message {
                Message::Kept(report) => self.report = Some(report),
                Message::Failed(error) => errors.push(error),
                _ => {}
            }
        }
        errors.extend(self.moving.receive());
        errors
    }

    /// Draws the view.
    pub fn ui(&mut self, ui: &mut Ui, session: &mut Session) {
        ui.horizontal(|ui| {
            ui.selectable_value(&mut self.show_moving, false, t("storage.run")).on_hover_text(t("storage.run.tip"));
            ui.selectable_value(&mut self.show_moving, true, t("storage.moving"))
                .on_hover_text(t("storage.moving.tip"));
        });
        if self.show_moving {
            egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| self.moving.ui(ui, session));
        } else {
            self.run_ui(ui, session);
        }
    }

    fn run_ui(&mut self, ui: &mut Ui, session: &mut Session) {
        let is_old = self.of.as_ref().is_none_or(|of| !Arc::ptr_eq(of, &session.run));
        if is_old && session.run.scenario.resilience().is_some() {
            self.of = Some(session.run.clone());
            self.job = Some(Job::goodput(ui.ctx(), session.run.scenario.clone(), session.run.trace.step_time));
        }
        egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
            ui.horizontal(|ui| {
                heading_ui(ui, t("storage.title"));
                origin_ui(ui, Origin::Modelled);
                if self.is_running() {
                    ui.spinner();
                }
            });
            ui.weak(t("storage.about"));
            if session.run.scenario.resilience().is_none() {
                ui.label(t("storage.nothing"));
                if ui.button(t("storage.describe")).on_hover_text(t("storage.describe.tip")).clicked() {
                    session.file.checkpoint.get_or_insert_default();
                    session.file.reliability.get_or_insert_default();
                }
                return;
            }
            let Some(report) = &self.report else { return };
            summary_ui(ui, report);
            save_ui(ui, report, session);
            curve_ui(ui, report);
            if let Some(mode) = table_ui(ui, report) {
                session.file.checkpoint.get_or_insert_default().mode = mode;
            }
            paths_ui(ui, report);
        });
    }
}

fn summary_ui(ui: &mut Ui, report: &GoodputReport) {
    let chosen = &report.chosen;
    let interval = report::long_time(report.interval_time());
    let share = format!("{:.2} %", chosen.time.goodput() * 100.0);
    ui.heading(t_with("storage.goodput", share));
    let [worst, best] = chosen.range.map(|share| format!("{:.2} %", share * 100.0));
    ui.weak(format!("{} {worst} – {best}", t("storage.range")));
    let parts = [
        t_or_name("storage_mode", report.mode.name()).to_owned(),
        format!("{} {} ({interval})", t("storage.every"), chosen.interval),
        t_with("storage.state", report.state),
        t_with("storage.mtbf", report::long_time(report.mtbf)),
        t_with("storage.horizon", report::long_time(report.horizon)),
        t_with("storage.failures", chosen.time.failures),
    ];
    ui.label(parts.join(" · "));
    let named = |(part, time): (&'static str, Nanos)| {
        (t_or_name("storage_part", part).to_owned(), time.secs(), job_part_color(part))
    };
    ui.scope(|ui| {
        ui.set_max_width(ui.available_width().min(900.0));
        stacked_bar_ui(ui, &chosen.time.parts().map(named));
    });
    let all = chosen.time.total().secs().max(1e-12);
    ui.horizontal_wrapped(|ui| {
        for (part, time) in chosen.time.parts() {
            let name = t_or_name("storage_part", part);
            swatch_ui(ui, job_part_color(part), &format!("{name} {:.2} %", time.secs() / all * 100.0));
        }
    });
}

fn save_ui(ui: &mut Ui, report: &GoodputReport, session: &mut Session) {
    let name = session.run.scenario.name().to_owned();
    ui.horizontal(|ui| {
        if ui.button(t("storage.save_json")).clicked() {
            session.save(format!("{name}.goodput.json"), report::goodput_json(report));
        }
        if ui.button(t("storage.save_csv")).clicked() {
            session.save(format!("{name}.goodput.csv"), report::goodput_csv(report));
        }
    });
}

/// Goodput over the interval, which goes by factors.
fn curve_ui(ui: &mut Ui, report: &GoodputReport) {
    ui.add_space(6.0);
    ui.strong(t("storage.curve")).on_hover_text(t("storage.curve.tip"));
    let step = report.step.secs().max(1e-9);
    let time = move |mark: GridMark| report::long_time(Nanos::from_secs(10_f64.powf(mark.value) * step));
    let plot = even_grid(Plot::new("goodput"), ui.visuals())
        .height(HEIGHT)
        .allow_scroll(false)
        .include_y(100.0)
        .x_axis_label(t("storage.interval"))
        .y_axis_label(t("storage.percent"))
        .x_axis_formatter(move |mark, _| time(mark))
        .legend(Legend::default().position(Corner::LeftBottom));
    let stroke = capacity_stroke(ui.visuals());
    let ink = ui.visuals().text_color();
    plot.show(ui, |plot| {
        for mode in &report.modes {
            let name = t_or_name("storage_mode", mode.mode.name());
            let color = mode_color(mode.mode.name());
            let width = if mode.mode == report.mode { 3.0 } else { 1.5 };
            plot.line(Line::new(name, curve(mode)).color(color).width(width));
            let best = [f64::from(mode.best.interval).log10(), mode.best.time.goodput() * 100.0];
            plot.points(Points::new(name, PlotPoints::from(vec![best])).color(color).radius(4.0));
        }
        plot.vline(VLine::new(t("storage.chosen"), f64::from(report.chosen.interval).log10()).stroke(stroke));
        for mode in report.modes.iter().filter(|mode| mode.mode == report.mode) {
            for (key, interval, style) in
                [("Young", mode.young, LineStyle::dashed_loose()), ("Daly", mode.daly, LineStyle::dotted_loose())]
            {
                plot.vline(VLine::new(key, interval.max(1.0).log10()).color(ink).style(style));
            }
        }
    });
}

/// Where a whole checkpoint of the chosen way goes.
fn paths_ui(ui: &mut Ui, report: &GoodputReport) {
    let Some(own) = report.own() else { return };
    ui.add_space(6.0);
    ui.strong(t("storage.paths")).on_hover_text(t("storage.paths.tip"));
    Grid::new("way of a checkpoint").striped(true).num_columns(4).spacing([20.0, 4.0]).show(ui, |ui| {
        let mut last = "";
        for (part, hop) in own.hops() {
            ui.weak(if part == last { "" } else { t_or_name("storage_hop", part) });
            last = part;
            let [from, to] = [hop.from, hop.to].map(|tier| t_or_name("storage_place", tier.name()));
            ui.label(format!("{from} → {to}"));
            right_ui(ui, &hop.rate.to_string());
            ui.monospace(report::long_time(hop.time));
            ui.end_row();
        }
    });
}

fn curve(mode: &ModeReport) -> PlotPoints<'static> {
    mode.curve.iter().map(|point| [f64::from(point.interval).log10(), point.time.goodput() * 100.0]).collect()
}

/// All ways at their best; returns the one that is to be taken.
fn table_ui(ui: &mut Ui, report: &GoodputReport) -> Option<CheckpointMode> {
    let mut taken = None;
    let best = report.modes.iter().map(|mode| mode.best.time.goodput()).fold(0.0, f64::max);
    ui.add_space(6.0);
    Grid::new("ways to keep").striped(true).num_columns(8).spacing([20.0, 4.0]).show(ui, |ui| {
        for key in ["mode", "blocking", "background", "read", "best", "young", "daly", "at_best"] {
            ui.weak(t_or_name("storage_column", key));
        }
        ui.end_row();
        for mode in &report.modes {
            let name = t_or_name("storage_mode", mode.mode.name());
            if ui.selectable_label(mode.mode == report.mode, name).clicked() {
                taken = Some(mode.mode);
            }
            for time in [mode.blocking, mode.background, mode.read] {
                right_ui(ui, &report::long_time(time));
            }
            right_ui(ui, &mode.best.interval.to_string());
            right_ui(ui, &format!("{:.0}", mode.young));
            right_ui(ui, &format!("{:.0}", mode.daly));
            let goodput = mode.best.time.goodput();
            let text = egui::RichText::new(format!("{:.2} %", goodput * 100.0)).monospace();
            let text = if goodput >= best { text.strong().color(signals(ui.visuals()).good) } else { text };
            ui.label(text);
            ui.end_row();
        }
    });
    taken
}
