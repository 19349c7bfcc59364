//! Two comparisons: this run beside the pinned baseline, and the prediction beside the execution on this device.

use egui::{Grid, RichText, Ui};
use egui_extras::{Column, TableBuilder};
use shardlab_engine::compare::Comparison;
use shardlab_engine::exec::{BackendKind, executable_step};
use shardlab_engine::report;
use shardlab_engine::scenario::ClusterFile;

use super::design_tokens::{part_color, signals};
use super::i18n::{t, t_or_name, t_with};
use super::job::{Job, Message};
use super::session::{Run, Session};
use super::widgets::{grouped, heading_ui, origin_ui, stacked_bar_of_ui};

/// Steps that a comparison executes after the first.
const STEPS: u32 = 3;

/// A running comparison and its result.
#[derive(Debug, Default)]
pub struct CompareView {
    job: Option<Job>,
    done: f32,
    result: Option<Box<Comparison>>,
    /// The scenario that the result belongs to.
    of: String,
    note: Option<String>,
}

impl CompareView {
    /// Takes what the job has told; returns errors.
    pub fn receive(&mut self) -> Vec<String> {
        let messages = self.job.as_mut().map(Job::receive).unwrap_or_default();
        let mut errors = Vec::new();
        for message in messages {
            match message {
                Message::Progress(done) => self.done = done,
                Message::Opened(_, note) => self.note = note,
                Message::Compared(result) => self.result = Some(result),
                Message::Failed(error) => errors.push(error),
                _ => {}
            }
        }
        errors
    }

    /// What scripts and tests may ask for.
    pub fn state(&self) -> serde_json::Value {
        let running = self.job.as_ref().is_some_and(Job::is_running);
        serde_json::json!({ "running": running, "ratio": self.result.as_ref().map(|result| result.ratio()) })
    }

    /// Draws the view.
    pub fn ui(&mut self, ui: &mut Ui, session: &mut Session) {
        egui::ScrollArea::both().auto_shrink(false).show(ui, |ui| {
            baseline_ui(ui, session);
            ui.separator();
            self.prediction_ui(ui, session);
        });
    }

    fn prediction_ui(&mut self, ui: &mut Ui, session: &mut Session) {
        heading_ui(ui, t("compare.prediction"));
        ui.weak(t("compare.prediction.about"));
        let running = self.job.as_ref().is_some_and(Job::is_running);
        if let Err(error) = executable_step(&session.run.scenario, &session.run.step)
            && !running
        {
            ui.colored_label(signals(ui.visuals()).warn, error.to_string());
            if ui.button(t("execute.load_small")).clicked() {
                session.load_preset(super::execute::SMALL_PRESET);
            }
            return;
        }
        ui.horizontal(|ui| {
            if ui.add_enabled(!running, egui::Button::new(t("compare.start"))).clicked() {
                self.start(ui.ctx(), session);
            }
            if let Some(job) = self.job.as_ref().filter(|_| running) {
                ui.add(egui::ProgressBar::new(self.done).desired_width(180.0).show_percentage());
                if ui.button(t("execute.cancel")).clicked() {
                    job.cancel();
                }
            }
        });
        if let Some(note) = &self.note {
            ui.colored_label(signals(ui.visuals()).warn, note);
        }
        if let Some(result) = &self.result {
            result_ui(ui, &self.of, result);
            ui.horizontal(|ui| {
                if ui.button(t("compare.save")).clicked() {
                    session.save(format!("{}.comparison.json", self.of), report::comparison_json(result));
                }
                if ui.button(t("compare.take_device")).on_hover_text(t("compare.take_device.tip")).clicked() {
                    take_device(session, result);
                }
            });
        }
    }

    fn start(&mut self, context: &egui::Context, session: &Session) {
        self.done = 0.0;
        self.result = None;
        self.of = session.run.scenario.name().to_owned();
        self.job = Some(Job::compare(context, session.run.scenario.clone(), BackendKind::Wgpu, STEPS));
    }
}

/// Gives the scenario on screen the device that was measured, once for each of its ranks.
fn take_device(session: &mut Session, result: &Comparison) {
    let scenario = &session.run.scenario;
    let device = result.calibration.device_file(scenario.mesh().ranks(), scenario.device_memory());
    session.file.cluster = ClusterFile { nodes: 1, custom: Some(device), ..ClusterFile::default() };
}

fn result_ui(ui: &mut Ui, of: &str, result: &Comparison) {
    ui.label(format!("{of} · {} ({}; {})", result.backend.name, result.backend.detail, result.backend.timing));
    let c = &result.calibration;
    ui.weak(format!(
        "{}: {} {} · {} {} · {} {} · {} {} · {} {} · {} {}",
        t("compare.measured"),
        t("compare.matmul"),
        c.matmul,
        t("class.attention"),
        c.attention,
        t("compare.vector"),
        c.vector,
        t("compare.memory_bandwidth"),
        c.memory_bandwidth,
        t("compare.copy"),
        c.copy_bandwidth,
        t("compare.call"),
        c.launch_overhead
    ));
    Grid::new("prediction").num_columns(4).striped(true).min_col_width(110.0).show(ui, |ui| {
        for key in ["compare.class", "compare.predicted", "compare.executed", "compare.ratio"] {
            ui.strong(t(key));
        }
        ui.end_row();
        for row in &result.rows {
            ui.label(t_or_name("class", row.class));
            ui.monospace(row.predicted.to_string());
            ui.monospace(row.executed.to_string());
            ui.monospace(format!("{:.2}", row.ratio()));
            ui.end_row();
        }
        ui.strong(t("compare.all_ranks"));
        ui.monospace(result.predicted_step.to_string());
        ui.monospace(result.executed_step.to_string());
        ui.monospace(format!("{:.2}", result.ratio()));
        ui.end_row();
    });
    let colors = signals(ui.visuals());
    for (stage, planned, allocated) in &result.memory {
        let (color, key) =
            if planned == allocated { (colors.good, "compare.equal") } else { (colors.bad, "compare.different") };
        let stage = t_with("graph.stage", stage);
        let (planned, allocated) = (planned.total(), allocated.total());
        ui.horizontal_wrapped(|ui| {
            ui.label(format!("{stage}: {} {planned} · {} {allocated}", t("compare.planned"), t("compare.allocated")));
            ui.colored_label(color, t(key));
        });
    }
}

fn baseline_ui(ui: &mut Ui, session: &mut Session) {
    ui.horizontal(|ui| {
        heading_ui(ui, t("compare.baseline"));
        origin_ui(ui, session.run.trace.origin);
        if ui.button(t("command.pin")).on_hover_text(t("command.pin.tip")).clicked() {
            session.baseline = Some(session.run.clone());
        }
        if session.baseline.is_some() && ui.button(t("compare.unpin")).clicked() {
            session.baseline = None;
        }
    });
    let Some(baseline) = session.baseline.clone() else {
        ui.weak(t("compare.no_baseline"));
        return;
    };
    let run = session.run.clone();
    let run_time = run.report.step_time;
    for (name, run) in [(t("compare.pinned_run"), &baseline), (t("compare.current"), &run)] {
        ui.label(format!("{name}: {}", described(run)));
        let parts = run.report.breakdown.parts();
        let bars: Vec<_> = parts
            .iter()
            .map(|(name, time)| (t_or_name("part", name).to_owned(), time.secs(), part_color(name)))
            .collect();
        // Both bars on one scale: the longer step fills the width.
        let longest = baseline.report.step_time.max(run_time).secs().max(1e-12);
        stacked_bar_of_ui(ui, &bars, longest);
    }
    let rows = differences(&baseline, &run);
    difference_ui(ui, &rows);
    if ui.button(t("compare.save_differences")).clicked() {
        session.save(format!("{}.baseline.csv", run.scenario.name()), differences_csv(&rows));
    }
}

/// Figures in seconds, shares and bytes: as numbers, not as they are shown.
fn differences_csv(rows: &[Difference]) -> String {
    let line =
        |row: &Difference| format!("\"{}\",{},{}\n", row.name.replace('"', "\"\""), row.values[0], row.values[1]);
    std::iter::once("figure,baseline,current\n".to_owned()).chain(rows.iter().map(line)).collect()
}

/// The strategy in one line.
fn described(run: &Run) -> String {
    let (name, mesh, strategy) = (run.scenario.name(), run.scenario.mesh(), run.scenario.strategy());
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

/// A row of the comparison: key, both values as text and as numbers, and whether less is better.
struct Difference {
    name: String,
    texts: [String; 2],
    values: [f64; 2],
    less_is_better: bool,
}

fn differences(a: &Run, b: &Run) -> Vec<Difference> {
    let row = |name: &str, value: &dyn Fn(&Run) -> f64, text: &dyn Fn(&Run) -> String, less_is_better: bool| {
        Difference { name: name.to_owned(), texts: [text(a), text(b)], values: [value(a), value(b)], less_is_better }
    };
    let percent = |share: f64| format!("{:.2} %", share * 100.0);
    let mut rows = vec![
        row(t("inspector.step_time"), &|r| r.report.step_time.secs(), &|r| r.report.step_time.to_string(), true),
        row(t("inspector.tokens"), &|r| r.report.tokens_per_s, &|r| grouped(r.report.tokens_per_s), false),
        row(t("inspector.samples"), &|r| r.report.samples_per_s, &|r| grouped(r.report.samples_per_s), false),
        row(t("inspector.mfu"), &|r| r.report.mfu, &|r| percent(r.report.mfu), false),
        row(t("inspector.bubble"), &|r| r.report.bubble_fraction, &|r| percent(r.report.bubble_fraction), true),
        row(t("memory.peak"), &|r| r.report.fit.needed.as_f64(), &|r| r.report.fit.needed.to_string(), true),
    ];
    for index in 0..a.report.breakdown.parts().len() {
        let part = move |run: &Run| run.report.breakdown.parts()[index];
        if part(a).1.0 > 0 || part(b).1.0 > 0 {
            rows.push(row(t_or_name("part", part(a).0), &|r| part(r).1.secs(), &|r| part(r).1.to_string(), true));
        }
    }
    rows
}

fn difference_ui(ui: &mut Ui, rows: &[Difference]) {
    let colors = signals(ui.visuals());
    let table = TableBuilder::new(ui).striped(true).vscroll(false).id_salt("differences").column(Column::exact(190.0));
    let table = table.columns(Column::exact(120.0), 2).column(Column::exact(90.0));
    let header = table.header(20.0, |mut header| {
        for key in ["compare.figure", "compare.pinned_run", "compare.current", "compare.change"] {
            header.col(|ui| {
                ui.strong(t(key));
            });
        }
    });
    header.body(|body| {
        body.rows(20.0, rows.len(), |mut line| {
            let row = &rows[line.index()];
            line.col(|ui| {
                ui.label(&row.name);
            });
            for text in &row.texts {
                line.col(|ui| {
                    ui.monospace(text);
                });
            }
            line.col(|ui| {
                let [before, after] = row.values;
                let better = (after < before) == row.less_is_better;
                let color = if better { colors.good } else { colors.bad };
                let text = RichText::new(change(before, after)).monospace();
                ui.label(if before == after { text } else { text.color(color) });
            });
        });
    });
}

/// The change in percent of what was before.
fn change(before: f64, after: f64) -> String {
    if before == after {
        "=".to_owned()
    } else if before == 0.0 {
        t("compare.new").to_owned()
    } else {
        format!("{:+.1} %", (after / before - 1.0) * 100.0)
    }
}
