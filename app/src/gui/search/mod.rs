//! The search for a better strategy: what may vary, how far it is, and what it found, to be applied by a click.
//!
//! * `sweep` tries every combination instead, and shows all of them.

mod sweep;

use std::collections::BTreeMap;

use egui::{Grid, ProgressBar, Ui};
use egui_plot::{Plot, PlotPoints, Points};
use serde_json::Value;
use shardlab_engine::report;
use shardlab_engine::scenario::{Scenario, ScenarioFile};
use shardlab_engine::search::{Axis, Found, Goal, Outcome, Progress, Space, default_space};
use shardlab_engine::trace::Origin;

use crate::gui::design_tokens::{line_colors, signals};
use crate::gui::i18n::{t, t_with};
use crate::gui::job::{Job, Message};
use crate::gui::session::Session;
use crate::gui::widgets::{error_ui, even_grid, grouped, heading_ui, origin_ui};
use sweep::SweepPart;

/// A search and what it has found.
#[derive(Debug, Default)]
pub struct SearchView {
    /// For which scenario the fields were offered.
    offered: Option<ScenarioFile>,
    fields: Vec<Field>,
    goal: Goal,
    job: Option<Job>,
    progress: Option<Progress>,
    result: Option<(Box<Space>, Box<Outcome>, f64)>,
    error: Option<String>,
    started: Option<web_time::Instant>,
    sweep: SweepPart,
    /// The path of a field that is about to vary, as typed.
    new_path: String,
    /// Whether every combination is tried, instead of those that may be the best.
    sweeps: bool,
}

/// A field that may vary, with its values as typed.
#[derive(Debug)]
struct Field {
    path: String,
    varies: bool,
    values: String,
}

impl Field {
    fn of(axis: &Axis) -> Self {
        let values = axis.values.iter().map(plain).collect::<Vec<_>>().join(", ");
        Self { path: axis.path.clone(), varies: true, values }
    }

    fn axis(&self) -> Axis {
        let words = self.values.split(',').map(str::trim).filter(|word| !word.is_empty());
        let value = |word: &str| serde_json::from_str(word).unwrap_or_else(|_| Value::from(word));
        Axis { path: self.path.clone(), values: words.map(value).collect() }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The last name of a path.
fn short(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

impl SearchView {
    /// What tests read.
    pub fn state(&self) -> Value {
        serde_json::json!({
            "running": self.is_running(),
            "found": self.result.as_ref().map(|(_, outcome, _)| outcome.found.len()),
            "counts": self.result.as_ref().map(|(_, outcome, _)| &outcome.counts),
            "error": self.error,
            "sweep": self.sweep.state(),
        })
    }

    fn is_running(&self) -> bool {
        self.job.as_ref().is_some_and(Job::is_running)
    }

    /// Takes what the job has told; returns errors.
    pub fn receive(&mut self) -> Vec<String> {
        self.sweep.receive();
        let messages = self.job.as_mut().map(Job::receive).unwrap_or_default();
        let mut errors = Vec::new();
        for message in messages {
            match message {
                Message::Searching(progress) => self.progress = Some(progress),
                Message::Searched(space, outcome) => {
                    let seconds = self.started.map_or(0.0, |started| started.elapsed().as_secs_f64());
                    self.result = Some((space, outcome, seconds));
                }
                Message::Failed(error) => errors.push(error),
                _ => {}
            }
        }
        errors
    }

    /// Searches around the scenario on screen with the fields as they are offered.
    pub fn start(&mut self, context: &egui::Context, session: &Session) {
        self.offer(session);
        let axes = self.fields.iter().filter(|field| field.varies).map(Field::axis).collect();
        match Space::new(&session.file, axes) {
            Ok(space) if self.sweeps => self.error = self.sweep.start(context, space).err(),
            Ok(space) => {
                (self.error, self.progress, self.result) = (None, None, None);
                self.started = Some(web_time::Instant::now());
                self.job = Some(Job::search(context, space, self.goal));
            }
            Err(error) => self.error = Some(error.to_string()),
        }
    }

    /// Tries every combination of fields with these values, each a path and its values as they are typed.
    pub fn sweep(&mut self, context: &egui::Context, session: &Session, fields: &[(String, String)]) {
        self.offer(session);
        self.sweeps = true;
        let field =
            |(path, values): &(String, String)| Field { path: path.clone(), varies: true, values: values.clone() };
        self.fields = fields.iter().map(field).collect();
        self.start(context, session);
    }

    /// Offers the fields that people vary first; those of another scenario are offered anew.
    fn offer(&mut self, session: &Session) {
        let same = self.offered.as_ref().is_some_and(|offered| {
            (&offered.model, &offered.cluster, &offered.data)
                == (&session.file.model, &session.file.cluster, &session.file.data)
        });
        if !same {
            self.fields = fields(&session.run.scenario);
            self.offered = Some(session.file.clone());
        }
    }

    /// Draws the view.
    pub fn ui(&mut self, ui: &mut Ui, session: &mut Session) {
        self.offer(session);
        egui::ScrollArea::both().auto_shrink(false).show(ui, |ui| {
            ui.horizontal(|ui| {
                heading_ui(ui, t("search.title"));
                origin_ui(ui, Origin::Modelled);
            });
            ui.weak(t("search.about"));
            self.fields_ui(ui);
            self.control_ui(ui, session);
            if self.sweeps {
                let chosen = self.sweep.ui(ui, session);
                if let Some((space, index)) = self.sweep.space().zip(chosen) {
                    session.load(space.file(index), None);
                }
                return;
            }
            if let Some((space, outcome, seconds)) = &self.result {
                counts_ui(ui, outcome, *seconds);
                save_ui(ui, space, outcome, *seconds, session);
                plot_ui(ui, &outcome.found);
                if let Some(index) = table_ui(ui, space, outcome) {
                    session.load(space.file(index), None);
                }
            }
        });
    }

    fn fields_ui(&mut self, ui: &mut Ui) {
        Grid::new("search-fields").num_columns(2).show(ui, |ui| {
            for field in &mut self.fields {
                ui.checkbox(&mut field.varies, short(&field.path)).on_hover_text(&field.path);
                let edit = egui::TextEdit::singleline(&mut field.values).desired_width(360.0);
                ui.add_enabled(field.varies, edit).on_hover_text(t("search.values.tip"));
                ui.end_row();
            }
            let path = egui::TextEdit::singleline(&mut self.new_path).desired_width(180.0);
            ui.add(path.hint_text("data.sequence_length")).on_hover_text(t("sweep.add.tip"));
            if ui.add_enabled(!self.new_path.is_empty(), egui::Button::new(t("sweep.add"))).clicked() {
                let path = std::mem::take(&mut self.new_path).trim().to_owned();
                self.fields.push(Field { path, varies: true, values: String::new() });
            }
            ui.end_row();
        });
    }

    fn control_ui(&mut self, ui: &mut Ui, session: &Session) {
        ui.horizontal(|ui| {
            ui.radio_value(&mut self.goal, Goal::Time, t("search.goal.time")).on_hover_text(t("search.goal.time.tip"));
            ui.radio_value(&mut self.goal, Goal::Pareto, t("search.goal.pareto"))
                .on_hover_text(t("search.goal.pareto.tip"));
            ui.separator();
            ui.checkbox(&mut self.sweeps, t("sweep.every")).on_hover_text(t("sweep.every.tip"));
            if self.sweep.is_running() {
                if ui.button(t("search.stop")).clicked() {
                    self.sweep.cancel();
                }
            } else if self.is_running() {
                if ui.button(t("search.stop")).clicked()
                    && let Some(job) = &self.job
                {
                    job.cancel();
                }
            } else if ui.button(t("search.start")).clicked() {
                self.start(ui.ctx(), session);
            }
        });
        if let Some(error) = &self.error {
            error_ui(ui, error);
        }
        if let Some(progress) = self.progress.filter(|_| self.is_running()) {
            #[expect(clippy::cast_possible_truncation, reason = "a share")]
            let share = (progress.decided as f64 / progress.of.max(1) as f64) as f32;
            let best = progress.best.map_or_else(String::new, |best| format!(" · {best}"));
            ui.add(ProgressBar::new(share).desired_width(420.0));
            ui.weak(format!("{} / {}{best}", grouped(progress.decided as f64), grouped(progress.of as f64)));
        }
    }
}

fn fields(scenario: &Scenario) -> Vec<Field> {
    default_space(scenario).iter().map(Field::of).collect()
}

/// How all strategies were decided.
fn counts_ui(ui: &mut Ui, outcome: &Outcome, seconds: f64) {
    let counts = &outcome.counts;
    let invalid: u64 = counts.invalid.values().sum();
    let rows = [
        ("search.invalid", invalid),
        ("search.too_large", counts.too_large),
        ("search.pruned", counts.pruned),
        ("search.simulated", counts.simulated),
        ("search.alike", counts.alike),
    ];
    ui.separator();
    let text: Vec<String> = rows.into_iter().map(|(key, n)| format!("{} {}", grouped(n as f64), t(key))).collect();
    ui.label(text.join(" · "));
    let reasons: BTreeMap<&str, u64> = counts.invalid.iter().map(|(path, &n)| (short(path), n)).collect();
    if !reasons.is_empty() {
        let list: Vec<String> = reasons.into_iter().map(|(path, n)| format!("{path} {}", grouped(n as f64))).collect();
        ui.weak(format!("{}: {}", t("search.invalid"), list.join(", ")));
    }
    ui.weak(t_with("search.seconds", format!("{seconds:.2} s")));
    if !outcome.complete {
        ui.colored_label(signals(ui.visuals()).bad, t("search.stopped"));
    }
}

fn save_ui(ui: &mut Ui, space: &Space, outcome: &Outcome, seconds: f64, session: &mut Session) {
    if ui.button(t("search.save")).clicked() {
        session.save("strategies.json".to_owned(), report::search_json(space, outcome, seconds));
    }
}

/// Time against memory of what was found.
fn plot_ui(ui: &mut Ui, found: &[Found]) {
    if found.len() < 2 {
        return;
    }
    let points: PlotPoints<'_> =
        found.iter().map(|found| [found.step_time.secs(), found.memory.as_f64() / f64::from(1 << 30)]).collect();
    let plot = even_grid(Plot::new("search-plot"), ui.visuals())
        .height(200.0)
        .allow_scroll(false)
        .x_axis_label(t("search.plot.time"))
        .y_axis_label(t("search.plot.memory"));
    let color = line_colors()[0];
    plot.show(ui, |plot| plot.points(Points::new(t("search.found"), points).radius(4.0).color(color)));
}

/// What was found; returns the strategy that is to be applied.
fn table_ui(ui: &mut Ui, space: &Space, outcome: &Outcome) -> Option<u64> {
    if outcome.found.is_empty() {
        ui.label(t("search.none"));
        return None;
    }
    let mut chosen = None;
    Grid::new("search-found").striped(true).show(ui, |ui| {
        ui.label("");
        for key in ["search.step", "search.memory", "search.mfu"] {
            ui.weak(t(key));
        }
        for axis in &space.axes {
            ui.weak(short(&axis.path));
        }
        ui.end_row();
        for (number, found) in (1..).zip(&outcome.found) {
            let apply = ui.button(t_with("search.apply", number)).on_hover_text(t("search.apply.tip"));
            if apply.clicked() {
                chosen = Some(found.index);
            }
            ui.monospace(found.step_time.to_string());
            ui.monospace(found.memory.to_string());
            ui.monospace(format!("{:.1} %", found.mfu * 100.0));
            for value in space.values(found.index) {
                ui.monospace(plain(value));
            }
            ui.end_row();
        }
    });
    chosen
}
