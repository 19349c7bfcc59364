//! Comparing: a baseline and variants side by side, what differs, why; and the prediction beside the execution here.
//!
//! * `matrix` draws figures and settings of all runs,
//! * `why` says which setting makes which part of the difference,
//! * `prediction` measures this device, predicts and executes.

mod beside;
mod matrix;
mod prediction;
mod why;

use std::sync::Arc;

use egui::{RichText, Ui};
use egui_plot::{Line, Plot, PlotPoints};
use shardlab_engine::report::{self, Comparison, PageRun, Variant};
use shardlab_engine::search::{Setting, differing_settings};
use shardlab_engine::trace::Trace;
use shardlab_engine::units::Bytes;

use super::found_once::{FoundOnce, Same};
use super::i18n::{t, t_or_name};
use super::pinned::Pinned;
use super::session::{Run, Session};
use super::timeline::{Drawn, Strips};
use super::widgets::{even_grid, heading_ui, origin_ui, swatch_ui};
use prediction::Prediction;
use why::Why;

/// What is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Page {
    /// Runs that were pinned.
    #[default]
    Variants,
    /// A prediction with its execution.
    Prediction,
}

/// The state of the view.
#[derive(Debug, Default)]
pub struct CompareView {
    page: Page,
    prediction: Prediction,
    why: Why,
    strips: Strips,
    /// The run on screen as a column.
    current: FoundOnce<(Same<Run>, String), Arc<Pinned>>,
    /// What is known of all columns.
    found: FoundOnce<Vec<Same<Pinned>>, Found>,
}

/// What is known of columns beside their figures.
#[derive(Debug)]
struct Found {
    settings: Vec<Setting>,
    /// Memory of those that have it, by their numbers.
    memory: Vec<(usize, Vec<[f64; 2]>)>,
}

impl Found {
    fn of(columns: &[Arc<Pinned>]) -> Self {
        let curves = columns.iter().enumerate().map(|(number, column)| (number, memory_points(column.trace())));
        Self { settings: settings(columns), memory: curves.filter(|(_, points)| !points.is_empty()).collect() }
    }
}

impl CompareView {
    /// Takes what jobs have told; returns errors.
    pub fn receive(&mut self) -> Vec<String> {
        let mut errors = self.why.receive();
        errors.extend(self.prediction.receive());
        errors
    }

    /// What scripts and tests may ask for.
    pub fn state(&self, session: &Session) -> serde_json::Value {
        let (running, ratio) = self.prediction.state();
        let pinned: Vec<&str> = session.pinned.iter().map(|pinned| pinned.name.as_str()).collect();
        let origins: Vec<&str> = session.pinned.iter().map(|pinned| pinned.origin().name()).collect();
        serde_json::json!({
            "running": running,
            "ratio": ratio,
            "pinned": pinned,
            "origins": origins,
            "kept": session.pinned.iter().filter(|pinned| pinned.stored().is_some()).count(),
            "causes": self.why.causes(),
        })
    }

    /// Says why the run on screen differs from the baseline.
    pub fn ask_why(&mut self, context: &egui::Context, session: &Session) {
        self.page = Page::Variants;
        self.why.start(context, session.pinned.first(), &session.run.file, session.run.scenario.name());
    }

    /// Measures this device, predicts the step on screen and executes it.
    pub fn predict(&mut self, context: &egui::Context, session: &Session) {
        self.page = Page::Prediction;
        self.prediction.start(context, session);
    }

    /// Draws the view.
    pub fn ui(&mut self, ui: &mut Ui, session: &mut Session) {
        ui.horizontal(|ui| {
            ui.selectable_value(&mut self.page, Page::Variants, t("compare.baseline"));
            ui.selectable_value(&mut self.page, Page::Prediction, t("compare.prediction"));
        });
        egui::ScrollArea::both().auto_shrink(false).show(ui, |ui| {
            if self.page == Page::Prediction {
                return self.prediction.ui(ui, session);
            }
            head_ui(ui, session);
            let columns = self.columns(session);
            if session.pinned.is_empty() {
                ui.weak(t("compare.no_baseline"));
            } else {
                self.columns_ui(ui, session, &columns);
            }
        });
    }

    fn columns_ui(&mut self, ui: &mut Ui, session: &mut Session, columns: &[Arc<Pinned>]) {
        pinned_ui(ui, session, columns);
        let variants: Vec<Variant> = columns.iter().map(|column| column.variant()).collect();
        matrix::figures_ui(ui, &variants);
        let key = columns.iter().map(|column| Same(Arc::clone(column))).collect();
        let found = self.found.get(key, || Found::of(columns));
        matrix::settings_ui(ui, &found.settings, columns);
        self.why.ui(ui, session, columns);
        heading_ui(ui, t("compare.strips"));
        ui.weak(t("compare.strips.about"));
        let drawn: Vec<Drawn<'_>> = columns.iter().map(|column| column.drawn()).collect();
        self.strips.ui(ui, &drawn, |ui, number| {
            ui.horizontal(|ui| {
                let time = columns[number].trace().step_time;
                swatch_ui(ui, Pinned::color(number), &format!("{} · {time}", columns[number].name));
            });
        });
        memory_ui(ui, columns, &found.memory);
        save_ui(ui, session, columns, &variants, &found.settings, &self.why);
    }

    /// All that is compared: what is pinned, and the run on screen unless that is pinned already.
    fn columns(&mut self, session: &Session) -> Vec<Arc<Pinned>> {
        let mut columns = session.pinned.clone();
        let shown = session.shown();
        let is_pinned = |pinned: &Arc<Pinned>| pinned.run().is_some_and(|run| Arc::ptr_eq(run, shown));
        if !columns.iter().any(is_pinned) {
            let name = shown.scenario.name();
            let is_taken = columns.iter().any(|column| column.name == name);
            let name = if is_taken { format!("{name} ({})", t("compare.current")) } else { name.to_owned() };
            let key = (Same(Arc::clone(shown)), name.clone());
            let make = || Arc::new(Pinned::of_run(Arc::clone(shown)).called(name));
            columns.push(Arc::clone(self.current.get(key, make)));
        }
        columns
    }
}

fn settings(columns: &[Arc<Pinned>]) -> Vec<Setting> {
    let files: Option<Vec<_>> = columns.iter().map(|column| column.file()).collect();
    files.map(|files| differing_settings(&files)).unwrap_or_default()
}

fn head_ui(ui: &mut Ui, session: &mut Session) {
    ui.horizontal_wrapped(|ui| {
        if ui.button(t("command.pin")).on_hover_text(t("command.pin.tip")).clicked() {
            session.pin_baseline();
        }
        let full = session.is_full();
        let more = ui.add_enabled(!full, egui::Button::new(t("command.pin_variant")));
        if more.on_hover_text(t("command.pin_variant.tip")).clicked() {
            session.pin_shown();
        }
        if !session.pinned.is_empty() && ui.button(t("compare.unpin")).clicked() {
            session.unpin();
        }
    });
}

/// A line for each run: its colour, what it is, and what can be done with it.
fn pinned_ui(ui: &mut Ui, session: &mut Session, columns: &[Arc<Pinned>]) {
    let (mut removed, mut first) = (None, None);
    for (number, column) in columns.iter().enumerate() {
        ui.horizontal_wrapped(|ui| {
            let role = match number {
                0 => t("compare.pinned_run"),
                _ if number >= session.pinned.len() => t("compare.current"),
                _ => t("compare.variant"),
            };
            swatch_ui(ui, Pinned::color(number), role);
            let text = column.run().map_or_else(|| column.name.clone(), |run| described(&column.name, run));
            ui.label(RichText::new(text).strong());
            origin_ui(ui, column.origin());
            if number < session.pinned.len() {
                if number > 0 && ui.small_button(t("compare.make_baseline")).clicked() {
                    first = Some(number);
                }
                if ui.small_button("×").on_hover_text(t("compare.remove")).clicked() {
                    removed = Some(number);
                }
            }
        });
    }
    if let Some(number) = first {
        session.pinned.swap(0, number);
    }
    if let Some(number) = removed {
        session.pinned.remove(number);
    }
}

/// The strategy in one line.
fn described(name: &str, run: &Run) -> String {
    let (mesh, strategy) = (run.scenario.mesh(), run.scenario.strategy());
    let schedule = t_or_name("form.schedule", strategy.schedule.name().name());
    let chunks = if strategy.virtual_stages > 1 { format!(" × {}", strategy.virtual_stages) } else { String::new() };
    let schedule = format!("{schedule}{chunks}");
    let zero = if strategy.zero as u32 > 0 { format!(" · ZeRO {}", strategy.zero as u32) } else { String::new() };
    let precision = t_or_name("form.precision", strategy.precision.name());
    let recompute = t_or_name("form.recompute", strategy.recompute.name());
    let (what, batch) = (t("form.strategy.recompute"), t("form.strategy.global"));
    let tokens = format!("{} × {}", strategy.global_batch, run.scenario.data().sequence_length);
    format!("{name} · {mesh} · {schedule} · {precision}{zero} · {what} {recompute} · {batch} {tokens}")
}

/// Points of a memory curve that are drawn.
const POINTS: usize = 1500;

/// Memory of all runs over time, of the stage that needs the most.
fn memory_ui(ui: &mut Ui, columns: &[Arc<Pinned>], curves: &[(usize, Vec<[f64; 2]>)]) {
    if curves.is_empty() {
        return;
    }
    heading_ui(ui, t("compare.memory"));
    let plot = even_grid(Plot::new("compared memory").height(200.0), ui.visuals()).allow_scroll(false).include_y(0.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes of a device")]
    let plot = plot.y_axis_formatter(|mark, _| Bytes(mark.value as u64).to_string());
    plot.x_axis_label(t("axis.seconds")).show(ui, |plot| {
        for (number, points) in curves {
            let line = Line::new(columns[*number].name.clone(), PlotPoints::from(points.clone()));
            plot.line(line.color(Pinned::color(*number)).width(1.6));
        }
    });
}

/// Seconds and bytes of the stage that needs the most; a sample holds until the next.
fn memory_points(trace: &Trace) -> Vec<[f64; 2]> {
    let peak =
        |curve: &&shardlab_engine::trace::MemoryCurve| curve.samples.iter().map(|sample| sample.used.total()).max();
    let Some(curve) = trace.memory.iter().max_by_key(peak) else { return Vec::new() };
    let every = curve.samples.len().div_ceil(POINTS).max(1);
    let mut points: Vec<[f64; 2]> = Vec::new();
    for chunk in curve.samples.chunks(every) {
        let Some(highest) = chunk.iter().max_by_key(|sample| sample.used.total()) else { continue };
        let at = highest.at.secs();
        if let Some(last) = points.last().copied() {
            points.push([at, last[1]]);
        }
        points.push([at, highest.used.total().as_f64()]);
    }
    if let Some(last) = points.last().copied() {
        points.push([trace.step_time.secs(), last[1]]);
    }
    points
}

fn save_ui(
    ui: &mut Ui,
    session: &mut Session,
    columns: &[Arc<Pinned>],
    variants: &[Variant],
    settings: &[Setting],
    why: &Why,
) {
    ui.add_space(6.0);
    ui.horizontal(|ui| {
        let causes = why.of_all(columns);
        let comparison = Comparison { variants, settings, causes: &causes };
        if ui.button(t("compare.save_differences")).clicked() {
            session.save("comparison.csv".to_owned(), report::variants_csv(variants));
        }
        if ui.button(t("compare.save")).clicked() {
            session.save("comparison.json".to_owned(), report::variants_json(&comparison));
        }
        if ui.button(t("compare.save_page")).on_hover_text(t("compare.save_page.tip")).clicked() {
            let runs: Vec<_> = columns.iter().filter_map(|column| column.run()).collect();
            let pages: Vec<PageRun<'_>> = runs.iter().map(|run| run.page()).collect();
            session.save("comparison.html".to_owned(), report::html_report(&pages, Some(&comparison), &[]));
        }
    });
}
