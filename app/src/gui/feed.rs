//! A run that is fed from disk: what its steps wait for samples, executed beside modelled. Natively only: a page has no
//! threads that read files.

use std::path::PathBuf;

use egui::{DragValue, Grid, Ui};
use egui_plot::{HLine, Legend, Line, Plot, PlotPoints};
use shardlab_engine::compare::{LoadingOptions, LoadingReport};
use shardlab_engine::exec::executable_step;
use shardlab_engine::report;
use shardlab_engine::trace::Origin;
use shardlab_engine::units::{Bytes, BytesPerSec};

use super::design_tokens::{capacity_stroke, line_colors};
use super::i18n::{t, t_with};
use super::job::{Job, Message, spawn};
use super::session::Session;
use super::widgets::{error_ui, even_grid, heading_ui, origin_ui, right_ui, warning_ui};

/// Height of the chart.
const HEIGHT: f32 = 180.0;

/// What of the view outlives a frame.
#[derive(Debug)]
pub struct FeedView {
    job: Option<Job>,
    report: Option<Box<LoadingReport>>,
    error: Option<String>,
    share: f32,
    /// The path of the folder, as it is typed or was picked.
    folder: String,
    picked: (flume::Sender<PathBuf>, flume::Receiver<PathBuf>),
    steps: u32,
    count: u32,
    kilobytes: u32,
    workers: u32,
    prefetch: u32,
    /// MB/s; none for 0.
    limit: f64,
    /// The part of all samples that stays in memory.
    cached: f64,
}

impl Default for FeedView {
    fn default() -> Self {
        Self {
            job: None,
            report: None,
            error: None,
            share: 0.0,
            folder: String::new(),
            picked: flume::unbounded(),
            steps: 40,
            count: 256,
            kilobytes: 100,
            workers: 2,
            prefetch: 2,
            limit: 2.0,
            cached: 0.0,
        }
    }
}

impl FeedView {
    fn is_running(&self) -> bool {
        self.job.as_ref().is_some_and(Job::is_running)
    }

    /// Takes what the job has told.
    pub fn receive(&mut self) {
        if let Some(folder) = self.picked.1.try_iter().last() {
            self.folder = folder.display().to_string();
        }
        for message in self.job.as_mut().map(Job::receive).unwrap_or_default() {
            match message {
                Message::Fed(report) => self.report = Some(report),
                Message::Progress(share) => self.share = share,
                Message::Failed(error) => self.error = Some(error),
                _ => {}
            }
        }
    }

    /// What tests read.
    pub fn state(&self) -> serde_json::Value {
        let report = self.report.as_ref();
        serde_json::json!({
            "running": self.is_running(),
            "error": self.error,
            "waits": report.map(|report| report.waits.len()),
        })
    }

    /// Draws it.
    pub fn ui(&mut self, ui: &mut Ui, session: &mut Session) {
        egui::CollapsingHeader::new(t("feed.title")).show(ui, |ui| {
            ui.weak(t("feed.about"));
            let run = session.run.clone();
            if let Err(error) = executable_step(&run.scenario, &run.step) {
                warning_ui(ui, &error.to_string());
                return;
            }
            self.choices_ui(ui);
            self.start_ui(ui, session);
            if let Some(error) = &self.error {
                error_ui(ui, error);
            }
            if let Some(report) = &self.report {
                report_ui(ui, report, session);
            }
        });
    }

    fn choices_ui(&mut self, ui: &mut Ui) {
        ui.horizontal_wrapped(|ui| {
            if ui.button(t("feed.folder")).on_hover_text(t("feed.folder.tip")).clicked() {
                self.pick(ui.ctx());
            }
            let name = ui.label(t("feed.path")).id;
            ui.text_edit_singleline(&mut self.folder).labelled_by(name);
        });
        ui.horizontal_wrapped(|ui| {
            let mut number = |key: &'static str, value: &mut u32, range: std::ops::RangeInclusive<u32>| {
                let name = ui.label(t(key)).id;
                ui.add(DragValue::new(value).range(range)).labelled_by(name);
            };
            number("feed.steps", &mut self.steps, 2..=100_000);
            number("feed.count", &mut self.count, 1..=1_000_000);
            number("feed.kilobytes", &mut self.kilobytes, 1..=1_000_000);
            number("feed.workers", &mut self.workers, 1..=256);
            number("feed.prefetch", &mut self.prefetch, 1..=1024);
        });
        ui.horizontal_wrapped(|ui| {
            let name = ui.label(t("feed.limit")).id;
            let limit = ui.add(DragValue::new(&mut self.limit).range(0.0..=1e6).speed(0.1)).labelled_by(name);
            limit.on_hover_text(t("feed.limit.tip"));
            let name = ui.label(t("feed.cached")).id;
            let cached = ui.add(DragValue::new(&mut self.cached).range(0.0..=1.0).speed(0.01)).labelled_by(name);
            cached.on_hover_text(t("feed.cached.tip"));
        });
    }

    fn pick(&self, context: &egui::Context) {
        let (send, context) = (self.picked.0.clone(), context.clone());
        spawn("folder", async move {
            if let Some(folder) = rfd::AsyncFileDialog::new().pick_folder().await {
                send.send(folder.path().to_owned()).ok();
                context.request_repaint();
            }
        });
    }

    fn start_ui(&mut self, ui: &mut Ui, session: &Session) {
        ui.horizontal(|ui| {
            if self.is_running() {
                if ui.button(t("feed.stop")).clicked() {
                    self.job.iter().for_each(Job::cancel);
                }
                ui.add(egui::ProgressBar::new(self.share).desired_width(160.0));
                return;
            }
            if self.folder.trim().is_empty() {
                ui.weak(t("feed.no_folder"));
                return;
            }
            if ui.button(t("feed.start")).on_hover_text(t("feed.start.tip")).clicked() {
                (self.error, self.report, self.share) = (None, None, 0.0);
                let options = self.options(session);
                self.job =
                    Some(Job::feed(ui.ctx(), session.run.scenario.clone(), PathBuf::from(self.folder.trim()), options));
            }
        });
    }

    fn options(&self, session: &Session) -> LoadingOptions {
        let bytes = Bytes(u64::from(self.kilobytes) * 1000);
        let policy = session.run.scenario.data().input.map(|input| input.cache.policy).unwrap_or_default();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a size")]
        let capacity = Bytes((bytes.as_f64() * f64::from(self.count) * self.cached) as u64);
        LoadingOptions {
            steps: self.steps,
            count: self.count,
            bytes,
            workers: self.workers,
            prefetch: self.prefetch,
            limit: (self.limit > 0.0).then_some(BytesPerSec(self.limit * 1e6)),
            policy,
            capacity: capacity.max(Bytes(1)),
        }
    }
}

fn report_ui(ui: &mut Ui, report: &LoadingReport, session: &mut Session) {
    ui.horizontal(|ui| {
        heading_ui(ui, t("feed.result"));
        origin_ui(ui, Origin::Executed);
        if ui.button(t("storage.save_json")).clicked() {
            let name = session.run.scenario.name().to_owned();
            session.save(format!("{name}.feed.json"), report::loading_json(&name, report));
        }
    });
    ui.weak(t_with("feed.step", report.step));
    Grid::new("fed").striped(true).num_columns(3).spacing([20.0, 4.0]).show(ui, |ui| {
        ui.label("");
        ui.weak(t("origin.executed"));
        ui.weak(t("origin.modelled"));
        ui.end_row();
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        let rows = [
            ("feed.wait", report.wait().to_string(), report.modelled.stall.to_string()),
            ("feed.hits", percent(report.hits()), percent(report.modelled_hits)),
        ];
        for (key, executed, modelled) in rows {
            ui.label(t(key));
            right_ui(ui, &executed);
            ui.monospace(modelled);
            ui.end_row();
        }
    });
    let waits: PlotPoints<'_> =
        report.waits.iter().enumerate().map(|(step, wait)| [step as f64 + 1.0, wait.secs() * 1e3]).collect();
    let modelled = report.modelled.stall.secs() * 1e3;
    let plot = Plot::new("waits").height(HEIGHT).include_y(0.0).allow_scroll(false).legend(Legend::default());
    let stroke = capacity_stroke(ui.visuals());
    even_grid(plot.x_axis_label(t("execute.step")).y_axis_label("ms"), ui.visuals()).show(ui, |plot| {
        plot.line(Line::new(t("feed.waits"), waits).color(line_colors()[0]).width(1.6));
        plot.hline(HLine::new(t("origin.modelled"), modelled).stroke(stroke));
    });
}
