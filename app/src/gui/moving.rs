//! Something large on its way to many nodes: what each way takes beside the ideal, and what would make it faster.

use std::sync::Arc;

use egui::{Grid, Ui};
use egui_plot::{GridMark, HLine, Legend, Line, Plot, PlotPoints};
use shardlab_engine::analysis::{TransferPoint, TransferReport};
use shardlab_engine::report;
use shardlab_engine::scenario::transfer::TransferMethod;
use shardlab_engine::trace::Origin;
use shardlab_engine::units::{Bytes, Nanos};

use super::design_tokens::{capacity_stroke, line_colors, signals, transfer_color};
use super::i18n::{t, t_or_name, t_with};
use super::job::{Job, Message};
use super::session::{Run, Session};
use super::widgets::{even_grid, heading_ui, origin_ui, right_ui};

/// Height of a chart.
const HEIGHT: f32 = 220.0;

/// What becomes of the transfer of the scenario on screen.
#[derive(Debug, Default)]
pub struct MovingView {
    job: Option<Job>,
    report: Option<Box<TransferReport>>,
    /// Which run the report is of.
    of: Option<Arc<Run>>,
}

impl MovingView {
    /// What tests read.
    pub fn state(&self) -> serde_json::Value {
        let report = self.report.as_ref();
        serde_json::json!({
            "running": self.is_running(),
            "time_ns": report.map(|report| report.chosen.time.0),
            "ideal_ns": report.map(|report| report.ideal.0),
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
                Message::Moved(report) => self.report = Some(report),
                Message::Failed(error) => errors.push(error),
                _ => {}
            }
        }
        errors
    }

    /// Draws the page.
    pub fn ui(&mut self, ui: &mut Ui, session: &mut Session) {
        if !self.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, &session.run)) {
            (self.of, self.report) = (Some(Arc::clone(&session.run)), None);
            let described = session.run.scenario.transfer().is_some();
            self.job = described.then(|| Job::transfer(ui.ctx(), session.run.scenario.clone()));
        }
        ui.horizontal(|ui| {
            heading_ui(ui, t("moving.title"));
            origin_ui(ui, Origin::Modelled);
            if self.is_running() {
                ui.spinner();
            }
        });
        ui.weak(t("moving.about"));
        if session.run.scenario.transfer().is_none() {
            ui.label(t("moving.nothing"));
            if ui.button(t("moving.describe")).on_hover_text(t("moving.describe.tip")).clicked() {
                session.file.transfer.get_or_insert_default();
            }
            return;
        }
        let Some(report) = &self.report else { return };
        summary_ui(ui, report);
        save_ui(ui, report, session);
        if let Some(method) = table_ui(ui, report) {
            session.file.transfer.get_or_insert_default().method = method;
        }
        ui.columns(2, |cells| {
            receivers_ui(&mut cells[0], report);
            chunk_ui(&mut cells[1], report);
        });
    }
}

fn summary_ui(ui: &mut Ui, report: &TransferReport) {
    let (chosen, transfer) = (&report.chosen, &report.transfer);
    ui.heading(t_with("moving.time", chosen.time));
    let share = report.ideal.secs() / chosen.time.secs().max(1e-12) * 100.0;
    let mut parts = vec![
        t_or_name("transfer_method", transfer.method.name()).to_owned(),
        t_with("moving.size", transfer.size),
        t_with("moving.receivers", transfer.receivers),
        format!("{} {} ({share:.1} %)", t("moving.ideal"), report.ideal),
        format!(
            "{} {:.2} GB/s ({})",
            t("moving.stream"),
            chosen.stream.0 / 1e9,
            t_or_name("transfer_bound", chosen.bound)
        ),
    ];
    parts.extend(report.best_chunk().map(|chunk| t_with("moving.best_chunk", chunk)));
    parts.extend(report.undisturbed.map(|share| t_with("moving.undisturbed", format!("{:.2} %", share * 100.0))));
    ui.label(parts.join(" · "));
}

fn save_ui(ui: &mut Ui, report: &TransferReport, session: &mut Session) {
    let name = session.run.scenario.name().to_owned();
    ui.horizontal(|ui| {
        if ui.button(t("storage.save_json")).clicked() {
            session.save(format!("{name}.transfer.json"), report::transfer_json(&name, report));
        }
        if ui.button(t("storage.save_csv")).clicked() {
            session.save(format!("{name}.transfer.csv"), report::transfer_csv(report));
        }
    });
}

/// All methods; returns the one that is to be taken.
fn table_ui(ui: &mut Ui, report: &TransferReport) -> Option<TransferMethod> {
    let mut taken = None;
    let best = report.methods.iter().map(|handed| handed.time).min();
    ui.add_space(6.0);
    let columns = ["method", "time", "of_ideal", "first", "sent", "resent", "wrong"];
    Grid::new("ways to hand out").striped(true).num_columns(columns.len()).spacing([20.0, 4.0]).show(ui, |ui| {
        for column in columns {
            ui.weak(t_or_name("moving_column", column)).on_hover_text(t_or_name("moving_column_tip", column));
        }
        ui.end_row();
        for handed in &report.methods {
            let name = t_or_name("transfer_method", handed.method.name());
            let chosen = handed.method == report.transfer.method;
            let response = ui.selectable_label(chosen, name);
            if response.on_hover_text(t_or_name("transfer_method_tip", handed.method.name())).clicked() {
                taken = Some(handed.method);
            }
            let time = egui::RichText::new(handed.time.to_string()).monospace();
            let is_best = Some(handed.time) == best;
            ui.label(if is_best { time.strong().color(signals(ui.visuals()).good) } else { time });
            right_ui(ui, &format!("{:.1} %", report.ideal.secs() / handed.time.secs().max(1e-12) * 100.0));
            right_ui(ui, &handed.first.to_string());
            right_ui(ui, &handed.sent.to_string());
            right_ui(ui, &handed.resent.to_string());
            ui.monospace(if handed.wrong == 0.0 { "0".to_owned() } else { format!("{:.1e}", handed.wrong) });
            ui.end_row();
        }
    });
    taken
}

fn line(points: &[TransferPoint]) -> PlotPoints<'static> {
    points.iter().map(|point| [(point.at as f64).log10(), point.time.secs().max(1e-9).log10()]).collect()
}

/// A chart whose axes go by factors.
fn chart(id: &'static str, visuals: &egui::Visuals, text: fn(f64) -> String) -> Plot<'static> {
    let time = |mark: GridMark| report::long_time(Nanos::from_secs(10_f64.powf(mark.value)));
    even_grid(Plot::new(id), visuals)
        .height(HEIGHT)
        .allow_scroll(false)
        .x_axis_formatter(move |mark, _| text(10_f64.powf(mark.value)))
        .y_axis_formatter(move |mark, _| time(mark))
        .legend(Legend::default())
}

fn receivers_ui(ui: &mut Ui, report: &TransferReport) {
    ui.strong(t("moving.by_receivers"));
    let visuals = ui.visuals().clone();
    chart("by receivers", &visuals, |count| format!("{count:.0}")).x_axis_label(t("moving.nodes")).show(ui, |plot| {
        for curve in &report.by_receivers {
            let name = t_or_name("transfer_method", curve.method.name());
            let width = if curve.method == report.transfer.method { 3.0 } else { 1.5 };
            plot.line(Line::new(name, line(&curve.points)).color(transfer_color(curve.method.name())).width(width));
        }
        let ideal = report.ideal.secs().max(1e-9).log10();
        plot.hline(HLine::new(t("moving.ideal"), ideal).stroke(capacity_stroke(&visuals)));
    });
}

fn chunk_ui(ui: &mut Ui, report: &TransferReport) {
    ui.strong(t("moving.by_chunk"));
    let visuals = ui.visuals().clone();
    let size = |bytes: f64| Bytes(bytes.max(0.0) as u64).to_string();
    chart("by chunk", &visuals, size).x_axis_label(t("moving.chunk")).show(ui, |plot| {
        let name = t_or_name("transfer_method", report.transfer.method.name());
        plot.line(Line::new(name, line(&report.by_chunk)).color(line_colors()[0]).width(2.0));
    });
}
