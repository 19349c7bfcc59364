//! Ranks, kernels and differences of a measured trace.

use egui::{Grid, RichText, ScrollArea, Ui};
use shardlab_engine::analysis::hta::{Beside, BesideRow, Change, DiffRow, TraceReport};
use shardlab_engine::report::signed;
use shardlab_engine::trace::{Imported, Span};
use shardlab_engine::units::{Bytes, BytesPerSec, Nanos};

use crate::gui::design_tokens::{class_color, part_color, signals};
use crate::gui::i18n::{t, t_or_name, t_with};
use crate::gui::session::Run;
use crate::gui::widgets::{end_row_ui, right_head_ui, right_ui, stacked_bar_of_ui, swatch_ui};

/// Rows that are shown of long tables; files have all of them.
const SHOWN: usize = 200;

/// Where the time of each rank goes.
pub(super) fn ranks_ui(ui: &mut Ui, report: &TraceReport) {
    if report.ranks.is_empty() {
        ui.label(t("traces.no_device"));
        return;
    }
    ScrollArea::both().auto_shrink(false).show(ui, |ui| {
        ui.horizontal(|ui| {
            for (key, color) in parts() {
                swatch_ui(ui, color, t(key));
            }
        });
        let longest = report.ranks.iter().map(|rank| rank.kernel_time).max().unwrap_or_default().secs();
        for rank in &report.ranks {
            ui.horizontal(|ui| {
                let name = RichText::new(&*rank.name).monospace();
                let name = if rank.is_straggler { name.color(signals(ui.visuals()).bad) } else { name };
                ui.add_sized([110.0, 16.0], egui::Label::new(name).truncate());
                let times = [rank.compute, rank.non_compute, rank.idle];
                let bars: Vec<_> = parts()
                    .into_iter()
                    .zip(times)
                    .map(|((key, color), time)| (t(key).to_owned(), time.secs(), color))
                    .collect();
                stacked_bar_of_ui(ui, &bars, longest);
            });
            if rank.is_straggler {
                ui.colored_label(signals(ui.visuals()).bad, t_with("traces.straggler", &rank.name));
            }
        }
        ui.add_space(6.0);
        let columns =
            ["rank", "kernels", "compute", "non_compute", "idle", "overlap", "host_wait", "other", "queue", "delay"];
        Grid::new("ranks of a trace").striped(true).num_columns(columns.len()).spacing([18.0, 4.0]).show(ui, |ui| {
            for column in columns {
                ui.weak(t_or_name("traces_column", column)).on_hover_text(t_or_name("traces_column_tip", column));
            }
            ui.end_row();
            for rank in &report.ranks {
                ui.monospace(&*rank.name);
                let share = |part: Nanos| format!("{:.1} %", part.secs() / rank.kernel_time.secs().max(1e-12) * 100.0);
                right_ui(ui, &rank.kernel_time.to_string());
                for part in [rank.compute, rank.non_compute, rank.idle] {
                    right_ui(ui, &share(part));
                }
                right_ui(ui, &rank.overlap.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", share * 100.0)));
                right_ui(ui, &rank.waits.host_wait.to_string());
                right_ui(ui, &(rank.waits.kernel_wait + rank.waits.other).to_string());
                right_ui(ui, &format!("{:.1} / {}", rank.queue.mean, rank.queue.max));
                ui.monospace(rank.queue.delay.to_string());
                ui.end_row();
            }
        });
    });
}

fn parts() -> [(&'static str, egui::Color32); 3] {
    [
        ("traces.compute", part_color("forward")),
        ("traces.non_compute", part_color("exposed_dp")),
        ("traces.idle", part_color("bubble")),
    ]
}

/// Which kernels take the time.
pub(super) fn kernels_ui(ui: &mut Ui, report: &TraceReport) {
    let all: Nanos = report.kernels.iter().map(|row| row.sum).sum();
    ScrollArea::both().auto_shrink(false).show(ui, |ui| {
        Grid::new("kernels of a trace").striped(true).num_columns(8).spacing([18.0, 4.0]).show(ui, |ui| {
            for column in ["kernel", "class", "count", "sum", "share", "mean", "min", "max"] {
                ui.weak(t_or_name("traces_column", column));
            }
            ui.end_row();
            for row in report.kernels.iter().take(SHOWN) {
                name_ui(ui, &row.name);
                swatch_ui_row(ui, row.class);
                right_ui(ui, &row.count.to_string());
                right_ui(ui, &row.sum.to_string());
                right_ui(ui, &format!("{:.1} %", row.sum.secs() / all.secs().max(1e-12) * 100.0));
                right_ui(ui, &row.mean().to_string());
                right_ui(ui, &row.min.to_string());
                ui.monospace(row.max.to_string());
                ui.end_row();
            }
        });
        if report.kernels.len() > SHOWN {
            ui.weak(t_with("traces.more", report.kernels.len() - SHOWN));
        }
    });
}

/// What collectives take, with the columns of nccl-tests.
pub(super) fn collectives_ui(ui: &mut Ui, report: &TraceReport) {
    if report.collectives.is_empty() {
        ui.label(t("traces.no_collectives"));
        return;
    }
    ui.weak(t("traces.collectives.about"));
    let known = |there: bool, text: String| if there { text } else { "–".to_owned() };
    let rate = |rate: Option<BytesPerSec>| rate.map_or_else(|| "–".to_owned(), |rate| rate.to_string());
    ScrollArea::both().auto_shrink(false).show(ui, |ui| {
        Grid::new("collectives of a trace").striped(true).num_columns(12).spacing([14.0, 4.0]).show(ui, |ui| {
            for column in ["group", "collective"] {
                ui.weak(t_or_name("traces_column", column));
            }
            for column in ["ranks", "size", "count", "sum", "exposed", "mean", "min", "algbw", "busbw"] {
                let tip = t_or_name("traces_column_tip", column);
                ui.scope(|ui| right_head_ui(ui, t_or_name("traces_column", column))).response.on_hover_text(tip);
            }
            end_row_ui(ui);
            for row in report.collectives.iter().take(SHOWN) {
                ui.label(if row.group.is_empty() { "–" } else { &*row.group });
                swatch_ui_row(ui, row.class);
                right_ui(ui, &known(row.ranks > 0, row.ranks.to_string()));
                right_ui(ui, &known(row.size > Bytes::ZERO, row.size.to_string()));
                right_ui(ui, &row.count.to_string());
                [row.time, row.exposed, row.mean(), row.min].iter().for_each(|time| right_ui(ui, &time.to_string()));
                [row.algorithm_bandwidth(), row.bus_bandwidth()].into_iter().for_each(|of| right_ui(ui, &rate(of)));
                end_row_ui(ui);
            }
        });
        if report.collectives.len() > SHOWN {
            ui.weak(t_with("traces.more", report.collectives.len() - SHOWN));
        }
    });
}

fn swatch_ui_row(ui: &mut Ui, class: &'static str) {
    ui.horizontal(|ui| swatch_ui(ui, class_color(class), t_or_name("class", class)));
}

/// A kernel's name, cut where it is long.
fn name_ui(ui: &mut Ui, name: &str) {
    let short: String = name.chars().take(56).collect();
    let text = if short.len() < name.len() { format!("{short}…") } else { short };
    ui.monospace(text).on_hover_text(name);
}

/// A step of the scenario on screen beside the trace.
pub(super) fn beside_ui(ui: &mut Ui, beside: &Beside, run: &Run) {
    ScrollArea::both().auto_shrink(false).show(ui, |ui| {
        ui.weak(format!("{} · {}", t_with("traces.steps", beside.steps), run.scenario.name()));
        for (id, rows) in [("times beside", &beside.times), ("classes beside", &beside.classes)] {
            ui.add_space(6.0);
            Grid::new(id).striped(true).num_columns(5).spacing([24.0, 4.0]).show(ui, |ui| {
                ui.label("");
                for key in ["origin.imported", "origin.modelled"] {
                    ui.weak(t(key));
                }
                ui.weak(t("traces.apart"));
                ui.weak("");
                ui.end_row();
                rows.iter().for_each(|row| beside_row_ui(ui, row, id == "times beside"));
            });
        }
    });
}

fn beside_row_ui(ui: &mut Ui, row: &BesideRow, is_time: bool) {
    ui.label(t_or_name(if is_time { "traces_time" } else { "class" }, row.what));
    right_ui(ui, &row.measured.to_string());
    right_ui(ui, &row.modelled.to_string());
    right_ui(ui, &signed(row.modelled - row.measured));
    let ratio = row.modelled.secs() / row.measured.secs().max(1e-12) - 1.0;
    let text = if row.measured > Nanos::ZERO { format!("{:+.1} %", ratio * 100.0) } else { "–".to_owned() };
    ui.monospace(text);
    ui.end_row();
}

/// Two traces, kernel by kernel.
pub(super) fn difference_ui(ui: &mut Ui, rows: &[DiffRow]) {
    let signals = signals(ui.visuals());
    ScrollArea::both().auto_shrink(false).show(ui, |ui| {
        Grid::new("difference of traces").striped(true).num_columns(7).spacing([18.0, 4.0]).show(ui, |ui| {
            for column in ["kernel", "change", "count_before", "count_after", "before", "after", "difference"] {
                ui.weak(t_or_name("traces_column", column));
            }
            ui.end_row();
            for row in rows.iter().take(SHOWN) {
                name_ui(ui, &row.name);
                ui.label(t_or_name("traces_change", row.change.name()));
                row.counts.iter().for_each(|count| right_ui(ui, &count.to_string()));
                row.times.iter().for_each(|time| right_ui(ui, &time.to_string()));
                let mark = match row.difference() {
                    time if time > Nanos::ZERO => ("▲ ", signals.bad),
                    time if time < Nanos::ZERO => ("▼ ", signals.good),
                    _ => ("", ui.visuals().text_color()),
                };
                let strong = matches!(row.change, Change::Added | Change::Deleted);
                let text = RichText::new(format!("{}{}", mark.0, signed(row.difference()))).monospace().color(mark.1);
                ui.label(if strong { text.strong() } else { text });
                ui.end_row();
            }
        });
    });
}

/// A slice that is selected, with its call or its work.
pub(super) fn slice_ui(ui: &mut Ui, imported: &Imported, span: &Span, index: u32) {
    let trace = &imported.trace;
    let label = trace.label(span);
    ui.horizontal_wrapped(|ui| {
        name_ui(ui, &label.name);
        ui.label(t_or_name("traces_activity", imported.activity(span).name()));
        ui.monospace(format!("{} + {}", span.start, span.duration));
        if label.bytes > 0 {
            ui.monospace(Bytes(label.bytes).to_string());
        }
        let launch = imported.launches.iter().find(|launch| launch.call == index || launch.work == index);
        if let Some(launch) = launch {
            let (call, work) = (&trace.spans[launch.call as usize], &trace.spans[launch.work as usize]);
            ui.weak(t_with("traces.delay", work.start - call.start));
        }
    });
}
