//! Which allocators keep within the device, what breaks first, and what would make it fit.

use egui::{Grid, RichText, Ui};
use shardlab_engine::analysis::{AllocatorRow, MemoryPicture};
use shardlab_engine::report;
use shardlab_engine::scenario::AllocatorName;
use shardlab_engine::search::{Edit, Treatment, Way, Ways, changed};
use shardlab_engine::units::Bytes;

use super::{Found, breaks_text};
use crate::gui::design_tokens::signals;
use crate::gui::i18n::{t, t_or_name, t_with};
use crate::gui::job::Job;
use crate::gui::session::Session;
use crate::gui::widgets::{heading_ui, right_ui};

/// Changes that are shown of those that fit, and of the others.
const SHOWN: usize = 10;

/// Draws the page of a scenario; whether the search is to begin again.
pub fn ui(ui: &mut Ui, session: &mut Session, found: &Found, job: Option<&Job>) -> bool {
    let chosen = session.run.scenario.run().allocator;
    ui.weak(t("memory.fit.about"));
    let taken = rows_ui(ui, &found.rows, Some(chosen));
    if let Some(allocator) = taken {
        session.file.run.allocator = allocator;
    }
    let row = found.rows.iter().find(|row| row.allocator == chosen);
    if let Some(breaks) = row.and_then(|row| row.breaks.as_ref()) {
        ui.add_space(4.0);
        ui.colored_label(signals(ui.visuals()).bad, breaks_text(breaks));
    }
    save_ui(ui, session, &found.rows);
    let mut edits = treatments_ui(ui, &found.treatments);
    if let Some(ways) = &found.ways {
        edits = ways_ui(ui, ways).or(edits);
    }
    let again = job.is_some_and(|job| progress_ui(ui, job, found));
    if let Some(file) = edits.and_then(|edits| changed(&session.file, &edits)) {
        session.file = file;
    }
    again
}

/// A button to stop the search, or to begin it again where it was stopped; whether it is to begin again.
fn progress_ui(ui: &mut Ui, job: &Job, found: &Found) -> bool {
    ui.horizontal(|ui| {
        if job.is_running() {
            ui.spinner();
            if ui.button(t("memory.stop")).clicked() {
                job.cancel();
            }
            return false;
        }
        !found.is_complete && ui.button(t("memory.again")).on_hover_text(t("memory.again.tip")).clicked()
    })
    .inner
}

/// Draws the page of a snapshot.
pub fn snapshot_ui(ui: &mut Ui, picture: &MemoryPicture, replayed: &[AllocatorRow]) {
    let map = &picture.map;
    let figures = [
        t_with("memory.events", picture.moments.len()),
        t_with("memory.allocated", map.allocated),
        t_with("memory.held", map.reserved),
    ];
    ui.label(figures.join(" · "));
    if let Some(failure) = map.failure {
        let text =
            [("{asked}", failure.asked), ("{reserved}", failure.held.reserved), ("{used}", failure.held.allocated)]
                .into_iter()
                .fold(t("memory.oom").to_owned(), |text, (mark, bytes)| text.replace(mark, &bytes.to_string()));
        ui.colored_label(signals(ui.visuals()).bad, text);
    }
    heading_ui(ui, t("memory.replayed"));
    ui.weak(t("memory.replayed.tip"));
    rows_ui(ui, replayed, None);
    heading_ui(ui, t("memory.at_peak"));
    Grid::new("places at the peak").striped(true).num_columns(3).spacing([20.0, 4.0]).show(ui, |ui| {
        for (name, (count, bytes)) in report::at_peak(picture).into_iter().take(SHOWN * 2) {
            ui.monospace(name);
            right_ui(ui, &format!("× {count}"));
            right_ui(ui, &bytes.to_string());
            ui.end_row();
        }
    });
}

fn save_ui(ui: &mut Ui, session: &mut Session, rows: &[AllocatorRow]) {
    if ui.button(t("memory.save_allocators")).on_hover_text(t("memory.save_allocators.tip")).clicked() {
        let name = format!("{}.allocators.csv", session.run.scenario.name());
        session.save(name, report::allocators_csv(rows));
    }
}

fn fits_ui(ui: &mut Ui, fits: bool) {
    let signals = signals(ui.visuals());
    let (text, color) = if fits { ("memory.yes", signals.good) } else { ("memory.no", signals.bad) };
    ui.colored_label(color, t(text));
}

/// A line for every allocator; returns the one that is to be taken.
fn rows_ui(ui: &mut Ui, rows: &[AllocatorRow], chosen: Option<AllocatorName>) -> Option<AllocatorName> {
    let mut taken = None;
    let columns =
        ["allocator", "fits", "allocated", "reserved", "unused", "segments", "calls", "later", "moved", "copying"];
    Grid::new("allocators").striped(true).num_columns(columns.len()).spacing([18.0, 4.0]).show(ui, |ui| {
        for column in columns {
            ui.weak(t_or_name("memory_column", column)).on_hover_text(t_or_name("memory_column_tip", column));
        }
        ui.end_row();
        for row in rows {
            let name = t_or_name("allocator", row.allocator.name());
            let response = ui.selectable_label(Some(row.allocator) == chosen, name);
            if response.on_hover_text(t_or_name("allocator_tip", row.allocator.name())).clicked() {
                taken = Some(row.allocator);
            }
            if chosen.is_some() {
                fits_ui(ui, row.fits);
            } else {
                ui.weak("–");
            }
            right_ui(ui, &row.allocated.to_string());
            right_ui(ui, &row.reserved.to_string());
            right_ui(ui, &format!("{:.1} %", row.fragmentation() * 100.0));
            for number in [row.segments, row.calls, row.later_calls] {
                right_ui(ui, &number.to_string());
            }
            let moves = row.moves > 0;
            right_ui(ui, &if moves { row.moved.to_string() } else { "–".to_owned() });
            ui.monospace(if moves { row.copying.to_string() } else { "–".to_owned() });
            ui.end_row();
        }
    });
    taken.filter(|&taken| chosen.is_some_and(|chosen| chosen != taken))
}

/// Ways of treating activations; returns the changes of the one that is to be taken.
fn treatments_ui(ui: &mut Ui, treatments: &[Treatment]) -> Option<Vec<Edit>> {
    if treatments.is_empty() {
        return None;
    }
    let mut taken = None;
    ui.add_space(8.0);
    heading_ui(ui, t("memory.treatments")).on_hover_text(t("memory.treatments.tip"));
    let columns = ["treatment", "fits", "activations", "peak", "reserved", "outside", "step", "repeated", "take"];
    let slowest = treatments.iter().map(|treatment| treatment.way.step_time).max().unwrap_or_default();
    Grid::new("treatments").striped(true).num_columns(columns.len()).spacing([18.0, 4.0]).show(ui, |ui| {
        for column in columns {
            ui.weak(t_or_name("memory_column", column));
        }
        ui.end_row();
        for Treatment { name, way, activations, repeated } in treatments {
            ui.label(t_or_name("treatment", name)).on_hover_text(t_or_name("treatment_tip", name));
            fits_ui(ui, way.fits);
            for bytes in [*activations, way.peak, way.reserved, way.outside] {
                right_ui(ui, &if bytes == Bytes::ZERO { "–".to_owned() } else { bytes.to_string() });
            }
            let time = RichText::new(way.step_time.to_string()).monospace();
            ui.label(if way.step_time == slowest { time.weak() } else { time });
            right_ui(ui, &format!("{:.1} %", repeated * 100.0));
            taken = take_ui(ui, way).or(taken.take());
            ui.end_row();
        }
    });
    taken
}

fn take_ui(ui: &mut Ui, way: &Way) -> Option<Vec<Edit>> {
    let clicked = ui.small_button(t("memory.take")).on_hover_text(report::edits_text(&way.edits)).clicked();
    clicked.then(|| way.edits.clone())
}

/// Changes that make it fit; returns those that are to be taken.
fn ways_ui(ui: &mut Ui, ways: &Ways) -> Option<Vec<Edit>> {
    ui.add_space(8.0);
    heading_ui(ui, t(if ways.now.fits { "memory.ways_too" } else { "memory.ways" }))
        .on_hover_text(t("memory.ways.tip"));
    if ways.fitting.is_empty() {
        ui.weak(t("memory.no_ways"));
    }
    let mut taken = None;
    let columns = ["change", "fits", "peak", "reserved", "step", "gain", "take"];
    Grid::new("ways to fit").striped(true).num_columns(columns.len()).spacing([18.0, 4.0]).show(ui, |ui| {
        for column in columns {
            ui.weak(t_or_name("memory_column", column));
        }
        ui.end_row();
        let now = [&ways.now];
        let shown = ways.fitting.iter().take(SHOWN).chain(ways.others.iter().take(SHOWN / 2)).chain(now);
        let best = ways.best(3);
        for way in shown {
            let text =
                if way.edits.is_empty() { t("memory.as_it_is").to_owned() } else { report::edits_text(&way.edits) };
            let text = RichText::new(text);
            ui.label(if best.contains(&way) { text.strong() } else { text });
            fits_ui(ui, way.fits);
            right_ui(ui, &way.peak.to_string());
            right_ui(ui, &way.reserved.to_string());
            right_ui(ui, &way.step_time.to_string());
            right_ui(ui, &format!("{:+.1} %", (way.per_s / ways.now.per_s.max(1e-12) - 1.0) * 100.0));
            if !way.edits.is_empty() {
                taken = take_ui(ui, way).or(taken.take());
            }
            ui.end_row();
        }
    });
    taken
}
