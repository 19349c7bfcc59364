//! The memory pool of an execution: the policy is chosen, what each would do is planned, what one did is shown.

use egui::{Grid, Ui};
use egui_plot::{Legend, Line, Plot, PlotPoints};
use shardlab_engine::exec::{PoolForecast, PoolStatistics, StepResult, Traffic, executable_step};
use shardlab_engine::report;
use shardlab_engine::scenario::PoolName;
use shardlab_engine::trace::{MemorySample, Origin};
use shardlab_engine::units::Bytes;

use super::design_tokens::line_colors;
use super::form::{Typed, quantity_ui};
use super::i18n::{t, t_or_name, t_with};
use super::session::{Run, Session};
use super::widgets::{error_ui, even_grid, heading_ui, origin_ui, right_ui};

/// Height of the chart.
const HEIGHT: f32 = 180.0;
/// Samples that are drawn; between two of them the highest is kept.
const DRAWN: usize = 160;
/// Bytes of a unit of the chart.
const MIB: f64 = 1_048_576.0;

/// What of the view outlives a frame.
#[derive(Debug, Default)]
pub struct PoolView {
    typed: Typed,
    /// The rank whose course is shown.
    rank: usize,
}

impl PoolView {
    /// What the pools of the last step did, and what each policy would do with the scenario.
    pub fn ui(&mut self, ui: &mut Ui, last: Option<&StepResult>, session: &mut Session) {
        let run = session.run.clone();
        if last.is_none() && executable_step(&run.scenario, &run.step).is_err() {
            return;
        }
        if let Some(last) = last {
            self.executed_ui(ui, last);
        }
        ui.separator();
        ui.horizontal(|ui| {
            heading_ui(ui, t("pool.title"));
            origin_ui(ui, Origin::Modelled);
        });
        ui.weak(t("pool.about"));
        match run.pools() {
            Ok(rows) => {
                forecast_ui(ui, rows, run.scenario.run().pool.name());
                if ui.button(t("pool.save")).on_hover_text(t("pool.save.tip")).clicked() {
                    let name = format!("{}.pool.csv", run.scenario.name());
                    session.save(name, report::pool_csv(rows));
                }
            }
            Err(error) => {
                error_ui(ui, error);
            }
        }
    }

    /// The switch.
    pub fn policy_ui(&mut self, ui: &mut Ui, session: &mut Session) {
        let least = least(&session.run);
        ui.horizontal(|ui| {
            ui.label(t("pool.title"));
            for policy in PoolName::ALL {
                let text = t_or_name("pool_name", policy.name());
                let response = ui.selectable_value(&mut session.file.run.pool, policy, text);
                response.on_hover_text(t_or_name("pool_tip", policy.name()));
            }
        });
        let allowed = session.run.scenario.run().memory_limit;
        ui.scope(|ui| {
            ui.set_max_width(320.0);
            if session.file.run.pool == PoolName::Paging {
                quantity_ui(ui, "pool.budget", &mut session.file.run.pool_budget, &mut self.typed, least, None);
            }
            quantity_ui(ui, "pool.limit", &mut session.file.run.memory_limit, &mut self.typed, allowed, None);
        });
    }

    fn executed_ui(&mut self, ui: &mut Ui, last: &StepResult) {
        ui.separator();
        ui.horizontal(|ui| {
            heading_ui(ui, t("pool.executed"));
            origin_ui(ui, Origin::Executed);
        });
        Grid::new("executed pools").striped(true).num_columns(7).spacing([20.0, 4.0]).show(ui, |ui| {
            ui.weak(t("pool.rank"));
            header_ui(ui);
            for (rank, pool) in last.pools.iter().enumerate() {
                if ui.selectable_label(self.rank == rank, t_with("execute.rank", rank)).clicked() {
                    self.rank = rank;
                }
                row_ui(ui, &Row::from(pool));
            }
        });
        self.chart_ui(ui, last);
    }

    /// What is allocated and what is reserved over the step.
    fn chart_ui(&self, ui: &mut Ui, last: &StepResult) {
        let Some(curve) = last.trace.memory.get(self.rank) else { return };
        let Some(reserved) = last.pool_reserved.get(self.rank) else { return };
        let end = last.trace.step_time.secs() * 1e3;
        let every = curve.samples.len().div_ceil(DRAWN).max(1);
        let highest = |samples: &[MemorySample]| samples.iter().map(|sample| sample.used.total()).max();
        let allocated = curve.samples.chunks(every).map(|samples| (samples[0].at.secs() * 1e3, highest(samples)));
        let allocated = allocated.map(|(at, bytes)| (at, bytes.unwrap_or_default()));
        let reserved = reserved.iter().map(|&(at, bytes)| (at.secs() * 1e3, bytes));
        let [first, second] = line_colors();
        let plot = Plot::new("pool").height(HEIGHT).include_y(0.0).allow_scroll(false);
        let plot = even_grid(plot.x_axis_label("ms").y_axis_label("MiB").legend(Legend::default()), ui.visuals());
        plot.show(ui, |plot| {
            plot.line(Line::new(t("pool.allocated"), stairs(allocated, end)).color(first).width(1.6));
            plot.line(Line::new(t("pool.reserved"), stairs(reserved, end)).color(second).width(1.6));
        });
    }
}

/// The least budget that the fullest stage can run with.
fn least(run: &Run) -> Bytes {
    let rows = run.pools().as_ref().map(Vec::as_slice).unwrap_or_default();
    rows.iter().map(|row| row.least).max().unwrap_or_default()
}

/// Values that hold until the next, in MiB over milliseconds.
fn stairs(samples: impl Iterator<Item = (f64, Bytes)>, end: f64) -> PlotPoints<'static> {
    let mut points: Vec<[f64; 2]> = Vec::new();
    for (at, bytes) in samples {
        if let Some(&[_, before]) = points.last() {
            points.push([at, before]);
        }
        points.push([at, bytes.as_f64() / MIB]);
    }
    if let Some(&[_, before]) = points.last() {
        points.push([end, before]);
    }
    PlotPoints::from(points)
}

/// What is told of a pool, planned or executed.
struct Row {
    allocated: Bytes,
    reserved: Bytes,
    fragmentation: f64,
    away: Bytes,
    out: Traffic,
    back: Traffic,
}

impl From<&PoolForecast> for Row {
    fn from(row: &PoolForecast) -> Self {
        let &PoolForecast { allocated, reserved, fragmentation, away, out, back, .. } = row;
        Self { allocated, reserved, fragmentation, away, out, back }
    }
}

impl From<&PoolStatistics> for Row {
    fn from(pool: &PoolStatistics) -> Self {
        let (allocated, fragmentation) = (pool.usage.at_peak.total(), pool.fragmentation());
        let &PoolStatistics { reserved, away, out, back, .. } = pool;
        Self { allocated, reserved, fragmentation, away, out, back }
    }
}

fn header_ui(ui: &mut Ui) {
    for (key, tip) in [
        ("pool.allocated", "pool.allocated.tip"),
        ("pool.reserved", "pool.reserved.tip"),
        ("pool.unused", "pool.unused.tip"),
        ("pool.away", "pool.away.tip"),
        ("pool.out", "pool.out.tip"),
        ("pool.in", "pool.in.tip"),
    ] {
        ui.weak(t(key)).on_hover_text(t(tip));
    }
    ui.end_row();
}

fn row_ui(ui: &mut Ui, row: &Row) {
    let paged = |traffic: Traffic| match traffic.moves {
        0 => "–".to_owned(),
        moves => format!("{moves} × {}", traffic.bytes),
    };
    right_ui(ui, &row.allocated.to_string());
    right_ui(ui, &row.reserved.to_string());
    right_ui(ui, &format!("{:.1} %", row.fragmentation * 100.0));
    right_ui(ui, &row.away.to_string());
    right_ui(ui, &paged(row.out));
    ui.monospace(paged(row.back));
    ui.end_row();
}

fn forecast_ui(ui: &mut Ui, rows: &[PoolForecast], chosen: PoolName) {
    Grid::new("planned pools").striped(true).num_columns(8).spacing([20.0, 4.0]).show(ui, |ui| {
        ui.weak(t("timeline.stage"));
        ui.weak(t("pool.policy"));
        header_ui(ui);
        for row in rows {
            ui.monospace(row.stage.to_string());
            let name = t_or_name("pool_name", row.policy.name());
            if row.policy == chosen {
                ui.strong(name)
            } else {
                ui.label(name)
            };
            row_ui(ui, &Row::from(row));
        }
    });
    if let Some(least) = rows.iter().map(|row| row.least).max() {
        ui.weak(t_with("pool.least", least)).on_hover_text(t("pool.least.tip"));
    }
}
