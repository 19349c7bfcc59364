//! A part of the time that was chosen, and what happens in it.

use std::collections::BTreeMap;

use egui::{Grid, ScrollArea, Ui};
use shardlab_engine::trace::Stream;
use shardlab_engine::units::Nanos;

use super::{Drawn, Identity, Track};
use crate::gui::design_tokens::span_color;
use crate::gui::i18n::{t, t_or_name, t_with};
use crate::gui::widgets::{right_ui, swatch_ui};

/// Height of the table, at most.
const HEIGHT: f32 = 150.0;

/// Spans of a class on a kind of stream within the part.
#[derive(Clone, Copy, Debug)]
struct Line {
    stream: Stream,
    class: &'static str,
    count: u64,
    /// What of them lies within it.
    time: Nanos,
}

/// A part of the time.
#[derive(Debug)]
pub(super) struct Area {
    /// From when.
    pub from: f64,
    /// Until when.
    pub until: f64,
    /// What was found of it, and of which rows.
    found: Option<(Key, Vec<Line>)>,
}

/// For which ends, how many rows and which trace something was found.
type Key = (i64, i64, usize, Identity);

impl Area {
    /// The part between two moments, whichever comes first.
    pub(super) fn between(one: f64, other: f64) -> Self {
        Self { from: one.min(other), until: one.max(other), found: None }
    }

    fn lines(&mut self, run: Drawn<'_>, tracks: &[&Track]) -> &[Line] {
        #[expect(clippy::cast_possible_truncation, reason = "moments of a step")]
        let (from, until) = (self.from as i64, self.until as i64);
        let key = (from, until, tracks.len(), run.identity());
        if self.found.as_ref().is_none_or(|(known, _)| *known != key) {
            self.found = Some((key, sum(run, tracks, Nanos(from), Nanos(until))));
        }
        self.found.as_ref().map_or(&[], |(_, lines)| lines)
    }

    /// Draws what happens in it; false when it is to go.
    pub(super) fn ui(&mut self, ui: &mut Ui, run: Drawn<'_>, tracks: &[&Track]) -> bool {
        #[expect(clippy::cast_possible_truncation, reason = "moments of a step")]
        let [from, until] = [self.from, self.until].map(|at| Nanos(at as i64));
        let mut stays = true;
        ui.horizontal(|ui| {
            ui.strong(t_with("timeline.area", until - from)).on_hover_text(t("timeline.area.tip"));
            ui.weak(format!("{from} – {until}"));
            stays = !ui.small_button("×").on_hover_text(t("timeline.area.close")).clicked();
        });
        let length = (until - from).secs().max(1e-12) * tracks.len().max(1) as f64;
        let lines = self.lines(run, tracks).to_vec();
        ScrollArea::vertical().id_salt("area").max_height(HEIGHT).show(ui, |ui| {
            Grid::new("area").striped(true).num_columns(6).spacing([20.0, 3.0]).show(ui, |ui| {
                for column in ["class", "stream", "count", "sum", "mean", "share"] {
                    ui.weak(t_or_name("timeline_column", column));
                }
                ui.end_row();
                for line in &lines {
                    ui.horizontal(|ui| {
                        swatch_ui(ui, span_color(line.stream, line.class), t_or_name("class", line.class));
                    });
                    ui.label(t_or_name("stream", line.stream.name()));
                    right_ui(ui, &line.count.to_string());
                    right_ui(ui, &line.time.to_string());
                    right_ui(ui, &Nanos(line.time.0 / i64::try_from(line.count.max(1)).unwrap_or(1)).to_string());
                    ui.monospace(format!("{:.1} %", line.time.secs() / length * 100.0));
                    ui.end_row();
                }
            });
        });
        stays
    }
}

/// What lies within a part, by class and stream, that which takes most first.
fn sum(run: Drawn<'_>, tracks: &[&Track], from: Nanos, until: Nanos) -> Vec<Line> {
    let mut lines: BTreeMap<(Stream, &'static str), Line> = BTreeMap::new();
    for track in tracks {
        let first = track.first_after(run.trace, from.0 as f64);
        for &span in &track.spans[first..] {
            let span = &run.trace.spans[span as usize];
            if span.start >= until {
                break;
            }
            let class = run.trace.label(span).class;
            let new = Line { stream: track.stream, class, count: 0, time: Nanos::ZERO };
            let line = lines.entry((track.stream, class)).or_insert(new);
            line.count += 1;
            line.time += span.end().min(until) - span.start.max(from);
        }
    }
    let mut lines: Vec<Line> = lines.into_values().collect();
    lines.sort_by_key(|line| (std::cmp::Reverse(line.time), line.stream, line.class));
    lines
}
