//! What a job reads and what caches find of it: where reads are served, how that changes over time, and the misses of every
//! policy by capacity.

mod flow;

use std::sync::Arc;

use egui::{Align2, FontId, Grid, ProgressBar, Sense, Ui, vec2};
use egui_plot::{Corner, GridMark, Legend, Line, LineStyle, Plot, PlotPoints, VLine};
use shardlab_engine::analysis::{CacheReport, InputReport, PolicyCurve, StudyOptions};
use shardlab_engine::report;
use shardlab_engine::scenario::{Cache, CachePolicy, SamplesFile, Scenario, ScenarioFile};
use shardlab_engine::sim::cache::{Requests, Tier};
use shardlab_engine::sim::input::InputBound;
use shardlab_engine::units::Bytes;

use flow::flow_ui;

use super::design_tokens::{capacity_stroke, line_colors, on_slice, part_color, policy_color, signals, tier_color};
use super::i18n::{t, t_or_name, t_with};
use super::job::{CacheJob, Job, Message, Reads};
use super::session::Session;
use super::widgets::{error_ui, even_grid, grouped, heading_ui, origin_ui, stacked_bar_ui};

/// Height of a chart.
const HEIGHT: f32 = 220.0;
/// Height of the boxes of the tiers.
const TIER: f32 = 58.0;
/// Columns of the table of misses.
const COLUMNS: usize = 6;

/// A trace that was opened.
#[derive(Clone, Debug)]
pub struct OpenedTrace {
    /// The file's name.
    pub name: String,
    /// What is in it.
    pub requests: Arc<Requests>,
}

/// A comparison of caches and what it has found.
#[derive(Debug, Default)]
pub struct DataView {
    job: Option<Job>,
    progress: f32,
    /// Played instead of what the scenario reads.
    trace: Option<OpenedTrace>,
    report: Option<Box<CacheReport>>,
    /// What is played, and what the report is of, to see when it has become old.
    playing: Option<ScenarioFile>,
    played: Option<ScenarioFile>,
    error: Option<String>,
}

impl DataView {
    /// What tests read.
    pub fn state(&self) -> serde_json::Value {
        let report = self.report.as_ref();
        serde_json::json!({
            "running": self.is_running(),
            "trace": self.trace.as_ref().map(|trace| &trace.name),
            "requests": report.map(|report| report.requests),
            "hit_rate": report.map(|report| report.run.total.hits().rate()),
            "curves": report.map(|report| report.curves.len()),
            "stall_ns": report.and_then(|report| report.input.as_ref()).map(|input| input.stall.0),
            "error": self.error,
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
                Message::Progress(share) => self.progress = share,
                Message::Traced(trace) => self.trace = Some(*trace),
                Message::Cached(report) => {
                    self.report = Some(report);
                    self.played = self.playing.take();
                }
                Message::Failed(error) => {
                    self.error = Some(error.clone());
                    errors.push(error);
                }
                _ => {}
            }
        }
        errors
    }

    /// Opens a trace from a file and plays it.
    pub fn open_trace(&mut self, context: &egui::Context, name: &str, bytes: Vec<u8>, session: &Session) {
        self.play(context, session, Reads::File { name: name.to_owned(), bytes });
    }

    /// Plays what the scenario reads, or the trace that was opened.
    pub fn start(&mut self, context: &egui::Context, session: &Session) {
        let scenario = &session.run.scenario;
        let reads = match (&self.trace, scenario.data().input) {
            (Some(trace), _) => Reads::Trace(trace.clone()),
            (None, Some(input)) => {
                Reads::Made(Box::new(input), input.reading_nodes(scenario.cluster().nodes), scenario.run().seed)
            }
            (None, None) => return,
        };
        self.play(context, session, reads);
    }

    fn play(&mut self, context: &egui::Context, session: &Session, reads: Reads) {
        (self.error, self.progress) = (None, 0.0);
        self.playing = Some(read_by(&session.file));
        let run = &session.run;
        let cache = run.scenario.data().input.map(|input| input.cache);
        let feeds = matches!(reads, Reads::Made(..)).then(|| run.scenario.clone());
        self.job = Some(Job::cache(context, CacheJob { reads, cache, feeds, options: StudyOptions::default() }));
    }

    /// Draws the view.
    pub fn ui(&mut self, ui: &mut Ui, session: &mut Session) {
        egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
            ui.horizontal(|ui| {
                heading_ui(ui, t("data.title"));
                if let Some(report) = &self.report {
                    origin_ui(ui, report.origin);
                }
            });
            ui.weak(t("data.about"));
            self.source_ui(ui, session);
            if let Some(error) = &self.error {
                error_ui(ui, error);
            }
            let Some(report) = &self.report else { return };
            if self.played.as_ref().is_some_and(|played| *played != read_by(&session.file)) && !self.is_running() {
                ui.colored_label(signals(ui.visuals()).warn, t("data.old"));
            }
            summary_ui(ui, report);
            save_ui(ui, report, session);
            tiers_ui(ui, report);
            if let Some(input) = &report.input {
                step_ui(ui, input);
            }
            over_time_ui(ui, report);
            curves_ui(ui, report);
            if let Some(policy) = table_ui(ui, report) {
                session.file.data.cache.get_or_insert_default().policy = policy;
            }
        });
    }

    /// What is played, and the button that does it.
    fn source_ui(&mut self, ui: &mut Ui, session: &mut Session) {
        let described = session.run.scenario.data().input.is_some();
        ui.horizontal_wrapped(|ui| match &self.trace {
            Some(trace) => {
                ui.label(t_with("data.of_trace", &trace.name));
                if ui.small_button("×").on_hover_text(t("data.close_trace")).clicked() {
                    (self.trace, self.report) = (None, None);
                }
            }
            None if described => {
                ui.label(made_of(&session.run.scenario));
            }
            None => {
                ui.label(t("data.nothing"));
                if ui.button(t("data.describe")).on_hover_text(t("data.describe.tip")).clicked() {
                    session.file.data.samples = Some(imagenet());
                }
            }
        });
        ui.horizontal(|ui| {
            if self.is_running() {
                if ui.button(t("data.stop")).clicked()
                    && let Some(job) = &self.job
                {
                    job.cancel();
                }
                ui.add(ProgressBar::new(self.progress).desired_width(240.0).show_percentage());
                return;
            }
            let ready = (described || self.trace.is_some()) && session.error.is_none();
            let play = ui.add_enabled(ready, egui::Button::new(t("data.play"))).on_hover_text(t("data.play.tip"));
            if play.clicked() {
                self.start(ui.ctx(), session);
            }
            ui.weak(t("data.drop"));
        });
    }
}

/// What of a scenario decides what is read, and what a step waits for it.
fn read_by(file: &ScenarioFile) -> ScenarioFile {
    let other = ScenarioFile { name: None, description: None, checkpoint: None, reliability: None, ..file.clone() };
    ScenarioFile { schema: None, ..other }
}

/// The dataset that everybody knows: ImageNet-1k, as it is published.
fn imagenet() -> SamplesFile {
    SamplesFile { count: Some(1_281_167), size: Some(Bytes(114_000)), ..SamplesFile::default() }
}

fn made_of(scenario: &Scenario) -> String {
    let Some(input) = scenario.data().input else { return String::new() };
    let pattern = t_or_name("form.data.pattern", input.access.pattern.name());
    let samples = input.samples;
    format!("{} × {} · {pattern}", grouped(f64::from(samples.count)), samples.size)
}

fn summary_ui(ui: &mut Ui, report: &CacheReport) {
    let Cache { policy, capacity, placement, .. } = report.cache;
    let parts = [
        format!("{} {}", grouped(report.requests as f64), t("data.requests")),
        report.request_bytes.to_string(),
        format!("{} {}", grouped(report.objects as f64), t("data.objects")),
        report.object_bytes.to_string(),
        format!("{} · {capacity} · {}", policy.name(), t_or_name("form.data.placement", placement.name())),
        t_with("data.nodes", report.nodes),
    ];
    ui.label(parts.join(" · "));
    if report.run_one_in > 1 {
        ui.weak(t_with("data.sampled", report.run_one_in));
    }
    let hits = report.run.total.hits();
    let rates = format!("{:.2} % / {:.2} %", hits.rate() * 100.0, hits.byte_rate() * 100.0);
    ui.strong(t_with("data.hit_rate", rates)).on_hover_text(t("data.hit_rate.tip"));
}

/// Writes a report as a file.
type Writer = fn(&CacheReport) -> String;

fn save_ui(ui: &mut Ui, report: &CacheReport, session: &mut Session) {
    let name = session.run.scenario.name().to_owned();
    ui.horizontal(|ui| {
        let files: [(&str, &str, Writer); 3] = [
            ("data.save_json", "caches.json", report::cache_json),
            ("data.save_csv", "misses.csv", report::cache_csv),
            ("data.save_time", "hits over time.csv", report::cache_intervals_csv),
        ];
        for (key, file, write) in files {
            if ui.button(t(key)).clicked() {
                session.save(format!("{name}.{file}"), write(report));
            }
        }
    });
}

/// The way of a read: tiers as boxes, as wide as the share of the bytes that they serve is large.
fn tiers_ui(ui: &mut Ui, report: &CacheReport) {
    ui.add_space(6.0);
    ui.strong(t("data.tiers")).on_hover_text(t("data.tiers.tip"));
    let (total, all) = (report.run.total, report.request_bytes.as_f64().max(1.0));
    let width = ui.available_width().min(900.0);
    let (rect, _) = ui.allocate_exact_size(vec2(width, TIER), Sense::hover());
    let gap = 28.0;
    // Of most nodes there is one cache.
    let shown = || Tier::ALL.into_iter().filter(|&tier| tier != Tier::Drives || report.cache.drives.is_some());
    let count = shown().count() as f32;
    let box_width = (width - (count - 1.0) * gap) / count;
    for (number, tier) in shown().enumerate() {
        let left = rect.left() + number as f32 * (box_width + gap);
        let frame = egui::Rect::from_min_size(egui::pos2(left, rect.top()), vec2(box_width, TIER));
        let share = total.bytes[tier as usize].as_f64() / all;
        let filled = egui::Rect::from_min_size(frame.min, vec2(box_width * share as f32, TIER));
        let painter = ui.painter();
        painter.rect_filled(frame, 4.0, ui.visuals().extreme_bg_color);
        painter.rect_filled(filled, 4.0, tier_color(tier.name()));
        painter.rect_stroke(frame, 4.0, ui.visuals().widgets.noninteractive.bg_stroke, egui::StrokeKind::Inside);
        let covered = share > 0.75;
        let ink = if covered { on_slice() } else { ui.visuals().strong_text_color() };
        let lines =
            format!("{}\n{:.1} % · {}", t_or_name("data_tier", tier.name()), share * 100.0, total.bytes[tier as usize]);
        painter.text(frame.center(), Align2::CENTER_CENTER, lines, FontId::proportional(13.0), ink);
        if number > 0 {
            let arrow = egui::pos2(left - gap / 2.0, frame.center().y);
            painter.text(arrow, Align2::CENTER_CENTER, "←", FontId::proportional(18.0), ui.visuals().text_color());
        }
    }
}

/// What a step waits for samples, why, and how large a cache would have to be for it to wait no more.
fn step_ui(ui: &mut Ui, input: &InputReport) {
    ui.add_space(6.0);
    ui.strong(t("data.step")).on_hover_text(t("data.step.tip"));
    let colors = signals(ui.visuals());
    let parts = [
        (t("data.computes").to_owned(), input.compute.secs(), part_color("forward")),
        (t("data.waits").to_owned(), input.stall.secs(), colors.bad),
    ];
    ui.scope(|ui| {
        ui.set_max_width(ui.available_width().min(900.0));
        stacked_bar_ui(ui, &parts);
    });
    let share = input.stall.secs() / input.step_time().secs().max(1e-12) * 100.0;
    let times =
        format!("{} {} · {} {} ({share:.1} %)", t("data.computes"), input.compute, t("data.waits"), input.stall);
    let color = if input.run.bound == InputBound::None { colors.good } else { colors.bad };
    ui.colored_label(color, times);
    flow_ui(ui, input);
    ui.label(match input.run.bound {
        InputBound::None => t("data.bound.none").to_owned(),
        InputBound::Decode => t("data.bound.decode").to_owned(),
        InputBound::Bandwidth(tier) => t_with("data.bound.bandwidth", t_or_name("data_tier", tier.name())),
        InputBound::Metadata => t("data.bound.metadata").to_owned(),
        InputBound::Network => t("data.bound.network").to_owned(),
        InputBound::Latency => t("data.bound.latency").to_owned(),
        InputBound::Copy => t("data.bound.copy").to_owned(),
    });
    ui.label(match input.least_capacity {
        Some(Bytes::ZERO) => t("data.least.none").to_owned(),
        Some(bytes) => t_with("data.least", bytes),
        None => t("data.least.never").to_owned(),
    });
}

/// Hits, by requests and by bytes, of every part of the trace.
fn over_time_ui(ui: &mut Ui, report: &CacheReport) {
    ui.add_space(6.0);
    ui.strong(t("data.over_time"));
    let plot = even_grid(Plot::new("hits over time"), ui.visuals())
        .height(HEIGHT * 0.7)
        .allow_scroll(false)
        .include_y(0.0)
        .include_y(100.0)
        .x_axis_label(t("data.request_number"))
        .y_axis_label(t("data.percent"))
        .legend(Legend::default().position(Corner::RightBottom));
    let by = |value: fn(&shardlab_engine::sim::cache::Hits) -> f64| -> PlotPoints<'static> {
        let point = |interval: &shardlab_engine::sim::cache::TierInterval| {
            [interval.from as f64, value(&interval.reads.hits()) * 100.0]
        };
        report.run.intervals.iter().map(point).collect()
    };
    let [first, second] = line_colors();
    let lines = [
        Line::new(t("data.by_requests"), by(|hits| hits.rate())).color(first).width(2.0),
        Line::new(t("data.by_bytes"), by(|hits| hits.byte_rate())).color(second).style(LineStyle::dashed_loose()),
    ];
    plot.show(ui, |plot| lines.into_iter().for_each(|line| plot.line(line)));
}

/// Misses over the capacity, which goes by factors.
fn curves_ui(ui: &mut Ui, report: &CacheReport) {
    ui.add_space(6.0);
    ui.strong(t("data.curves")).on_hover_text(t("data.curves.tip"));
    if report.one_in > 1 {
        ui.weak(t_with("data.sampled", report.one_in));
    }
    let capacity = |mark: GridMark| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a size")]
        Bytes(10_f64.powf(mark.value).round() as u64).to_string()
    };
    let plot = even_grid(Plot::new("misses"), ui.visuals())
        .height(HEIGHT * 1.4)
        .allow_scroll(false)
        .include_y(0.0)
        .x_axis_label(t("data.capacity"))
        .y_axis_label(t("data.missed"))
        .x_axis_formatter(move |mark, _| capacity(mark))
        .legend(Legend::default().position(Corner::LeftBottom));
    let stroke = capacity_stroke(ui.visuals());
    let dark = ui.visuals().dark_mode;
    plot.show(ui, |plot| {
        for curve in &report.curves {
            plot.line(curve_line(curve, curve.policy == report.cache.policy, dark));
        }
        plot.vline(VLine::new(t("data.chosen"), report.cache.capacity.as_f64().log10()).stroke(stroke));
    });
}

fn curve_line(curve: &PolicyCurve, chosen: bool, dark: bool) -> Line<'static> {
    let point =
        |point: &shardlab_engine::sim::cache::CurvePoint| [point.capacity.as_f64().log10(), missed(point.hits.rate())];
    let points: PlotPoints<'static> = curve.points.iter().map(point).collect();
    let line = Line::new(curve.policy.name(), points).color(policy_color(curve.policy.name(), dark));
    let line = line.width(if chosen { 3.5 } else { 1.5 });
    if curve.policy == CachePolicy::Belady { line.style(LineStyle::dashed_loose()) } else { line }
}

/// The share that is missed, in percent.
fn missed(rate: f64) -> f64 {
    (1.0 - rate) * 100.0
}

/// A number at the right of its cell; the last column of a grid is as wide as there is room, so there it is at the left.
fn cell_ui(ui: &mut Ui, text: egui::RichText, last: bool) {
    if last {
        ui.label(text);
    } else {
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| ui.label(text));
    }
}

/// Misses by policy and capacity, the best that a policy without foresight has in strong; returns the policy that is to
/// be taken.
fn table_ui(ui: &mut Ui, report: &CacheReport) -> Option<CachePolicy> {
    let first = report.curves.first()?;
    let shown = report.some_points(COLUMNS);
    let last = shown.last().copied()?;
    let online = || report.curves.iter().filter(|curve| curve.policy != CachePolicy::Belady);
    let best = |n: usize| online().map(|curve| curve.points[n].hits.hits).max().unwrap_or(0);
    let mut taken = None;
    ui.add_space(6.0);
    Grid::new("table of misses").striped(true).num_columns(shown.len() + 1).spacing([20.0, 4.0]).show(ui, |ui| {
        ui.weak(t("data.policy"));
        for &n in &shown {
            cell_ui(ui, egui::RichText::new(first.points[n].capacity.to_string()).monospace(), n == last);
        }
        ui.end_row();
        for curve in &report.curves {
            let name = curve.policy.name();
            let about = t_or_name("data_policy_about", name);
            let chosen = curve.policy == report.cache.policy;
            if ui.selectable_label(chosen, name).on_hover_text(about).clicked() {
                taken = Some(curve.policy);
            }
            for &n in &shown {
                let hits = curve.points[n].hits;
                let text = egui::RichText::new(format!("{:.2} %", missed(hits.rate()))).monospace();
                let is_best = hits.hits == best(n) && curve.policy != CachePolicy::Belady;
                let text = if is_best { text.strong().color(signals(ui.visuals()).good) } else { text };
                cell_ui(ui, text, n == last);
            }
            ui.end_row();
        }
    });
    taken
}
