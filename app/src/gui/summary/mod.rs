//! The step at a glance: figures, costs, where the time of all ranks goes, and what to change.
//!
//! * `advice` lists changes that were simulated, to be applied or pinned by a click,
//! * `faster` says what faster hardware and kernels would gain,
//! * `heat` draws ranks over time.

mod advice;
mod faster;
mod heat;

use egui::{Grid, Ui};
use shardlab_engine::analysis::{RunCost, Spent, run_cost};
use shardlab_engine::report::long_seconds;
use shardlab_engine::trace::Origin;

use super::design_tokens::{TRACK_NAMES, part_color, signals};
use super::i18n::{t, t_or_name, t_with};
use super::inspector::fit_badge_ui;
use super::session::{Run, Session};
use super::widgets::{grouped, heading_ui, origin_ui, right_ui, stacked_bar_of_ui, swatch_ui};
use advice::AdviceList;

/// Groups of ranks whose bars are drawn.
const BARS: usize = 24;

/// The state of the view.
#[derive(Debug, Default)]
pub struct SummaryView {
    advice: AdviceList,
    heat: heat::Shown,
    faster: faster::Faster,
}

impl SummaryView {
    /// Takes what the search for changes has told.
    /// Returns errors.
    pub fn receive(&mut self) -> Vec<String> {
        let mut errors = self.advice.receive();
        errors.extend(self.faster.receive());
        errors
    }

    /// What tests read.
    pub fn state(&self) -> serde_json::Value {
        let mut state = self.advice.state();
        state["faster"] = self.faster.found().into();
        state
    }

    /// Simulates what faster hardware and kernels would gain.
    pub fn what_if(&mut self, context: &egui::Context, session: &Session) {
        self.faster.start(context, session);
    }

    /// Looks for changes of the scenario on screen.
    pub fn advise(&mut self, context: &egui::Context, session: &Session) {
        self.advice.start(context, session);
    }

    /// What was found of the scenario on screen.
    pub fn advice(&self, session: &Session) -> &[shardlab_engine::search::Advice] {
        self.advice.found(session)
    }

    /// Applies the best change that was found, or all that help together.
    pub fn apply_best(&mut self, session: &mut Session) {
        self.advice.apply_best(session);
    }

    /// Draws the view.
    pub fn ui(&mut self, ui: &mut Ui, session: &mut Session) {
        egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
            let run = session.shown().clone();
            head_ui(ui, &run);
            if run.trace.origin == Origin::Modelled {
                costs_ui(ui, &run_cost(&run.scenario, &run.report), run.scenario.data().sequence_length > 1);
            }
            bars_ui(ui, &run);
            self.heat.ui(ui, run.heat());
            stragglers_ui(ui, &run);
            self.advice.ui(ui, session);
            self.faster.ui(ui, session);
        });
    }
}

fn head_ui(ui: &mut Ui, run: &Run) {
    let report = &run.report;
    ui.horizontal_wrapped(|ui| {
        heading_ui(ui, run.scenario.name());
        origin_ui(ui, report.origin);
    });
    ui.horizontal_wrapped(|ui| {
        let mut figures = vec![
            (t("inspector.step_time"), report.step_time.to_string()),
            (t("inspector.tokens"), grouped(report.tokens_per_s)),
        ];
        if report.origin == Origin::Modelled {
            figures.push((t("inspector.mfu"), format!("{:.1} %", report.mfu * 100.0)));
            figures.push((t("inspector.bubble"), format!("{:.1} %", report.bubble_fraction * 100.0)));
        }
        for (name, value) in figures {
            ui.group(|ui| {
                ui.style_mut().wrap_mode = Some(egui::TextWrapMode::Extend);
                ui.vertical(|ui| {
                    ui.weak(name);
                    ui.label(egui::RichText::new(value).heading().strong());
                });
            });
        }
    });
    fit_badge_ui(ui, run);
}

fn costs_ui(ui: &mut Ui, cost: &RunCost, has_tokens: bool) {
    heading_ui(ui, t("summary.cost")).on_hover_text(t("summary.cost.tip"));
    Grid::new("costs").striped(true).num_columns(5).spacing([20.0, 3.0]).show(ui, |ui| {
        ui.label("");
        for key in ["summary.time", "summary.device_hours", "summary.energy", "summary.money"] {
            ui.weak(t(key)).on_hover_text(t_or_name("summary.tip", key.rsplit('.').next().unwrap_or_default()));
        }
        ui.end_row();
        let million = if has_tokens { "summary.million_tokens" } else { "summary.million_samples" };
        cost_ui(ui, t("summary.step"), cost.step, &cost.currency);
        cost_ui(ui, t(million), cost.million, &cost.currency);
        if let (Some(run), Some(steps)) = (cost.run, cost.steps) {
            cost_ui(ui, &t_with("summary.run", grouped(steps)), run, &cost.currency);
        }
    });
    if cost.run.is_none() {
        ui.weak(t("summary.no_budget"));
    }
}

fn cost_ui(ui: &mut Ui, name: &str, spent: Spent, currency: &str) {
    ui.label(name);
    right_ui(ui, &long_seconds(spent.seconds));
    let hours =
        if spent.device_hours < 100.0 { format!("{:.3}", spent.device_hours) } else { grouped(spent.device_hours) };
    right_ui(ui, &hours);
    right_ui(ui, &spent.energy.map_or_else(|| "—".to_owned(), |energy| energy.to_string()));
    let money = |money: f64| if money < 100.0 { format!("{money:.2}") } else { grouped(money) };
    ui.monospace(spent.money.map_or_else(|| "—".to_owned(), |sum| format!("{} {currency}", money(sum))));
    ui.end_row();
}

/// Where the time of every group of ranks goes, on one scale.
fn bars_ui(ui: &mut Ui, run: &Run) {
    heading_ui(ui, t("summary.ranks"));
    let groups = &run.report.groups;
    let length = run.report.step_time.secs().max(1e-12);
    for group in groups.iter().take(BARS) {
        ui.horizontal(|ui| {
            let name = format!("{} {} ×{}", t("timeline.stage"), group.stage, group.ranks);
            ui.add_sized([TRACK_NAMES - 12.0, 16.0], egui::Label::new(name).halign(egui::Align::RIGHT));
            let bars: Vec<_> = group
                .parts
                .parts()
                .iter()
                .map(|(name, time)| (t_or_name("part", name).to_owned(), time.secs(), part_color(name)))
                .collect();
            stacked_bar_of_ui(ui, &bars, length);
        });
    }
    if groups.len() > BARS {
        ui.weak(t_with("summary.more", groups.len() - BARS));
    }
    ui.horizontal_wrapped(|ui| {
        let all = run.report.breakdown.parts();
        for (name, _) in all.iter().filter(|(_, time)| time.0 > 0) {
            swatch_ui(ui, part_color(name), t_or_name("part", name));
        }
    });
}

/// Ranks that hold others up.
fn stragglers_ui(ui: &mut Ui, run: &Run) {
    for slow in run.slow_groups().iter().take(4) {
        let text = [
            ("{ranks}", slow.ranks.to_string()),
            ("{stage}", slow.stage.to_string()),
            ("{percent}", format!("{:.1}", slow.slower * 100.0)),
        ]
        .into_iter()
        .fold(t("summary.slow").to_owned(), |text, (mark, value)| text.replace(mark, &value));
        ui.colored_label(signals(ui.visuals()).warn, text);
    }
}
