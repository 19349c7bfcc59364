//! Several traces below each other on a common zero.

use egui::{Rect, Sense, Ui, vec2};

use super::rows::{Look, rows_ui, ruler_ui};
use super::scale::Scale;
use super::{Drawn, Track};
use crate::gui::design_tokens::TRACK_NAMES;
use crate::gui::i18n::t;
use crate::gui::inspector::Selection;

/// Height of a row.
const ROW: f32 = 18.0;
/// Rows of each trace, at most.
const ROWS: usize = 8;
/// Height of the ruler.
const RULER: f32 = 20.0;

/// The part of the time that all of them show.
#[derive(Debug, Default)]
pub struct Strips {
    range: Option<(f64, f64)>,
}

impl Strips {
    /// Draws all traces, each with a line above that `head` writes.
    pub fn ui(&mut self, ui: &mut Ui, runs: &[Drawn<'_>], mut head: impl FnMut(&mut Ui, usize)) {
        let longest = runs.iter().map(|run| run.trace.step_time.0).max().unwrap_or(0).max(1) as f64;
        let (from, to) = self.range.unwrap_or((0.0, longest));
        let width = ui.available_width();
        let (ruler, _) = ui.allocate_exact_size(vec2(width, RULER), Sense::hover());
        let plot = |rect: Rect| rect.with_min_x(rect.left() + TRACK_NAMES);
        let scale = Scale { rect: plot(ruler), from, to, height: ROW };
        ruler_ui(ui.painter(), ui.visuals(), scale);
        for (number, run) in runs.iter().enumerate() {
            head(ui, number);
            let tracks = shown(*run);
            let size = vec2(width, tracks.len() as f32 * ROW);
            let (rect, response) = ui.allocate_exact_size(size, Sense::click_and_drag());
            response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Figure, true, t("timeline.name")));
            let scale = Scale { rect: plot(rect), ..scale };
            rows_ui(ui, rect, scale, *run, (&tracks, Look { pipeline: false, lit: None }), &Selection::Summary);
            self.navigate(ui, &response, scale, longest);
        }
    }

    /// Ctrl+wheel zooms at the pointer, dragging pans, a double click shows all.
    fn navigate(&mut self, ui: &Ui, response: &egui::Response, scale: Scale, longest: f64) {
        let zoom = if response.hovered() { ui.input(egui::InputState::zoom_delta) } else { 1.0 };
        let dragged = response.drag_delta().x;
        if response.double_clicked() {
            self.range = None;
        } else if (zoom - 1.0).abs() > 1e-4 || dragged != 0.0 {
            let at = response.hover_pos().map_or(scale.from, |at| scale.time(at.x));
            let by = 1.0 / f64::from(zoom);
            let pan = f64::from(dragged) * scale.per_pixel();
            let (from, to) = (at + (scale.from - at) * by - pan, at + (scale.to - at) * by - pan);
            let length = (to - from).clamp(longest.min(100.0), longest);
            let from = from.clamp(0.0, longest - length);
            self.range = (length < longest * 0.999).then_some((from, from + length));
        }
    }
}

/// The rows of a trace: the kernels of every stage first, then what else has room.
fn shown(run: Drawn<'_>) -> Vec<&Track> {
    let is_compute = |track: &&Track| !track.stream.is_communication();
    let tracks = &run.index.tracks;
    if tracks.len() <= ROWS {
        return tracks.iter().collect();
    }
    let mut rows: Vec<&Track> = tracks.iter().filter(is_compute).take(ROWS).collect();
    let room = ROWS - rows.len();
    rows.extend(tracks.iter().filter(|track| track.stream.is_communication()).take(room));
    rows.sort_by_key(|track| track.index);
    rows
}
