//! What of a timeline is shown, and its keys.

use std::collections::BTreeSet;

use egui::{Key, Pos2, Rect, Response, Sense, Ui, vec2};
use shardlab_engine::trace::{Origin, Span, Stream, Trace};
use shardlab_engine::units::Nanos;

use super::area::Area;
use super::counters::{COUNTER, counters, counters_ui};
use super::find::Find;
use super::rows::{Look, arrows_ui, mark_ui, rows_ui, ruler_ui};
use super::scale::Scale;
use super::{Drawn, Identity, Track};
use crate::gui::design_tokens::{TRACK_HEIGHT, TRACK_NAMES, area_shade, selection_stroke};
use crate::gui::i18n::{t, t_or_name, t_with};
use crate::gui::inspector::Selection;

/// Height of the ruler.
const RULER: f32 = 20.0;
/// Arrows of a selection that are drawn, at most.
const ARROWS: usize = 200;
/// Height that is left for what happens in a part of the time.
const AREA: f32 = 190.0;

/// Pixels within which a mark is meant.
const MARK_NEAR: f64 = 6.0;

/// Of which trace and span, and the spans that its arrows join.
type Arrows = ((Identity, u32), Vec<(u32, u32)>);

/// The visible part of the time.
#[derive(Debug, Default)]
pub struct TimelineView {
    /// First and last visible nanosecond; `None` shows all.
    range: Option<(f64, f64)>,
    /// Whether stages are drawn over time in the colours of their micro-batches, instead of all streams.
    pipeline: bool,
    /// Whether what is not on the critical path is dimmed.
    critical: bool,
    find: Find,
    /// Groups of which only the first row is shown.
    folded: BTreeSet<u32>,
    /// Tracks that are shown first, by index in the trace.
    pinned: Vec<usize>,
    /// A part of the time that was chosen.
    area: Option<Area>,
    /// Where the choice began.
    area_from: Option<f64>,
    /// Arrows of a span of a trace.
    arrows: Option<Arrows>,
    /// Moments that were marked.
    marks: Vec<f64>,
    /// Whether memory and links are drawn below the rows.
    counters: bool,
    /// Which span was brought to the middle last, by its start, and what was in sight then.
    focused: Option<(Nanos, Option<(f64, f64)>)>,
    /// Nanoseconds that were in sight when it was last drawn.
    shown: f64,
}

impl TimelineView {
    /// Shows all of the time.
    pub fn fit(&mut self) {
        (self.range, self.area) = (None, None);
    }

    /// Begins with another run: what was marked belongs to the one before.
    pub fn reset(&mut self) {
        self.fit();
        self.marks.clear();
    }

    /// Shows stages by micro-batch, or streams again.
    pub fn toggle_pipeline(&mut self) {
        self.pipeline = !self.pipeline;
    }

    /// Dims what is not on the critical path, or nothing.
    pub fn toggle_critical(&mut self) {
        self.critical = !self.critical;
    }

    /// Whether it is to be drawn with the critical path.
    pub fn wants_path(&self) -> bool {
        self.critical
    }

    /// Types into the field in which spans are looked for.
    pub fn focus_find(&mut self) {
        self.find.focus();
    }

    /// The part of the time that was chosen.
    pub fn chosen(&self) -> Option<(Nanos, Nanos)> {
        #[expect(clippy::cast_possible_truncation, reason = "moments of a step")]
        self.area.as_ref().map(|area| (Nanos(area.from as i64), Nanos(area.until as i64)))
    }

    /// Whether it is being chosen.
    pub fn is_choosing(&self) -> bool {
        self.area_from.is_some()
    }

    /// Chooses a part of the time.
    pub fn choose(&mut self, from: Nanos, until: Nanos) {
        self.area = Some(Area::between(from.0 as f64, until.0 as f64));
    }

    /// What tests read.
    pub fn state(&self) -> serde_json::Value {
        serde_json::json!({
            "critical": self.critical,
            "pinned": self.pinned.len(),
            "folded": self.folded.len(),
            "marks": self.marks.len(),
            "from": self.range.map_or(0.0, |range| range.0),
            "shown": self.shown,
            "area": self.area.as_ref().map(|area| area.until - area.from),
        })
    }

    /// What has a row: what is pinned first, then every stream, or the kernels of every stage.
    fn rows<'a>(&self, run: Drawn<'a>) -> Vec<&'a Track> {
        let wanted = |track: &&Track| !self.pipeline || track.stream == Stream::Compute;
        let of = |index: &usize| run.index.tracks.iter().find(|track| track.index == *index);
        let mut rows: Vec<&Track> = self.pinned.iter().filter_map(of).filter(wanted).collect();
        let mut group = None;
        for track in run.index.tracks.iter().filter(wanted) {
            let first = group.replace(track.group) != Some(track.group);
            if (first || !self.folded.contains(&track.group)) && !self.pinned.contains(&track.index) {
                rows.push(track);
            }
        }
        rows
    }

    fn choice_ui(&mut self, ui: &mut Ui, run: Drawn<'_>, selection: &mut Selection) {
        ui.horizontal(|ui| {
            if run.groups.is_empty() {
                ui.selectable_value(&mut self.pipeline, false, t("timeline.streams"))
                    .on_hover_text(t("timeline.streams.tip"));
                ui.selectable_value(&mut self.pipeline, true, t("timeline.pipeline"))
                    .on_hover_text(t("timeline.pipeline.tip"));
            }
            let toggle = ui.add_enabled(
                run.trace.origin != Origin::Executed,
                egui::Button::selectable(self.critical, t("timeline.critical")),
            );
            if toggle.on_hover_text(t("timeline.critical.tip")).clicked() {
                self.critical = !self.critical;
            }
            ui.selectable_label(self.counters, t("timeline.counters"))
                .on_hover_text(t("timeline.counters.tip"))
                .clicked()
                .then(|| self.counters = !self.counters);
            if let Some(found) = self.find.ui(ui, run, selection) {
                *selection = Selection::Span(found);
                self.show(run.trace, found);
            }
            ui.weak("?").on_hover_text(t("timeline.hint"));
        });
    }

    /// Draws the timeline.
    pub fn ui(&mut self, ui: &mut Ui, run: Drawn<'_>, selection: &mut Selection) {
        // What was selected in another trace may be behind the end of this one.
        if matches!(*selection, Selection::Span(span) if span as usize >= run.trace.spans.len()) {
            *selection = Selection::Summary;
        }
        self.choice_ui(ui, run, selection);
        let all = (0.0, run.trace.step_time.0.max(1) as f64);
        let (from, to) = self.range.unwrap_or(all);
        self.shown = to - from;
        let width = ui.available_width();
        let (ruler, _) = ui.allocate_exact_size(vec2(width, RULER), Sense::hover());
        let plot = |rect: Rect| rect.with_min_x(rect.left() + TRACK_NAMES);
        let scale = Scale { rect: plot(ruler), from, to, height: 0.0 };
        ruler_ui(ui.painter(), ui.visuals(), scale);
        let tracks = self.rows(run);
        let left = ui.available_height() - if self.area.is_some() { AREA } else { 0.0 };
        egui::ScrollArea::vertical().auto_shrink(false).max_height(left.max(60.0)).show(ui, |ui| {
            let rows = tracks.len() as f32;
            let height = (left / rows.max(1.0)).clamp(*TRACK_HEIGHT.start(), *TRACK_HEIGHT.end()).floor();
            if self.counters {
                let size = vec2(width, COUNTER * counters(run) as f32);
                let (rect, _) = ui.allocate_exact_size(size, Sense::hover());
                counters_ui(ui, rect, Scale { rect: plot(rect), height, ..scale }, run);
            }
            let (rect, response) = ui.allocate_exact_size(vec2(width, rows * height), Sense::click_and_drag());
            response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Figure, true, t("timeline.name")));
            let scale = Scale { rect: plot(rect), height, ..scale };
            if self.choose_area(ui, &response, scale) {
                *selection = Selection::Summary;
            }
            self.navigate(ui, &response, scale, all, run, selection);
            self.paint(ui, rect, scale, run, &tracks, selection);
            self.point(&response, scale, rect, run, &tracks, selection);
        });
        let stays = self.area.as_mut().is_none_or(|area| area.ui(ui, run, &tracks));
        let escaped = ui.input(|input| input.key_pressed(Key::Escape));
        if !stays || escaped {
            self.area = None;
        }
    }

    fn paint(&mut self, ui: &Ui, rect: Rect, scale: Scale, run: Drawn<'_>, tracks: &[&Track], selection: &Selection) {
        let critical = run.critical.filter(|_| self.critical);
        let find = &self.find;
        let lit = |span: u32| {
            let on_path = critical.is_none_or(|critical| critical.get(span as usize).copied().unwrap_or(false));
            on_path && (!find.is_active() || find.has(run.trace, span))
        };
        let asks = critical.is_some() || find.is_active();
        let look = Look { pipeline: self.pipeline, lit: if asks { Some(&lit) } else { None } };
        rows_ui(ui, rect, scale, run, (tracks, look), selection);
        if let Some(area) = &self.area {
            let x = scale.x(area.from).max(scale.rect.left())..=scale.x(area.until).min(scale.rect.right());
            let chosen = Rect::from_x_y_ranges(x, rect.y_range());
            ui.painter().rect_filled(chosen, 0.0, area_shade(ui.visuals()));
            ui.painter().vline(chosen.left(), rect.y_range(), selection_stroke(ui.visuals()));
            ui.painter().vline(chosen.right(), rect.y_range(), selection_stroke(ui.visuals()));
        }
        for (number, &at) in (1..).zip(&self.marks) {
            mark_ui(ui, rect, scale, at, number);
        }
        if let Selection::Span(selected) = *selection {
            arrows_ui(ui, rect, scale, run, tracks, self.arrows_of(run, selected));
        }
    }

    /// The arrows of a span; looked for once.
    fn arrows_of(&mut self, run: Drawn<'_>, selected: u32) -> &[(u32, u32)] {
        let key = (run.identity(), selected);
        if self.arrows.as_ref().is_none_or(|(of, _)| *of != key) {
            let flows = run.trace.flows.iter().filter(|flow| flow.from == selected || flow.to == selected);
            self.arrows = Some((key, flows.map(|flow| (flow.from, flow.to)).take(ARROWS).collect()));
        }
        self.arrows.as_ref().map_or(&[], |(_, arrows)| arrows)
    }

    /// Shows only the first row of a group, or all again.
    fn fold(&mut self, group: u32) {
        if !self.folded.remove(&group) {
            self.folded.insert(group);
        }
    }

    /// Shows a track first, or where it stood.
    fn pin(&mut self, track: usize) {
        match self.pinned.iter().position(|pinned| *pinned == track) {
            Some(place) => drop(self.pinned.remove(place)),
            None => self.pinned.push(track),
        }
    }

    /// What lies under the pointer: a name that folds or pins, or a span.
    fn point(
        &mut self,
        response: &Response,
        scale: Scale,
        rect: Rect,
        run: Drawn<'_>,
        tracks: &[&Track],
        selection: &mut Selection,
    ) {
        let Some(at) = response.hover_pos() else { return };
        if at.x < scale.rect.left() {
            let row = ((at.y - rect.top()) / scale.height) as usize;
            let Some(track) = tracks.get(row) else { return };
            let is_group = at.x < rect.left() + TRACK_NAMES * 0.45;
            if response.clicked() && is_group {
                self.fold(track.group);
            } else if response.clicked() {
                self.pin(track.index);
            }
            let tip = if is_group { "timeline.fold.tip" } else { "timeline.pin.tip" };
            response.clone().on_hover_text_at_pointer(t(tip));
            return;
        }
        let hovered = span_at(run, tracks, scale, rect, at);
        if response.clicked() {
            *selection = hovered.map_or(Selection::Summary, Selection::Span);
        }
        if let Some(span) = hovered {
            response.clone().on_hover_ui_at_pointer(|ui| tooltip_ui(ui, run.trace, span));
        }
    }

    /// Dragging chooses a part of the time; with Shift, another button or a finger it pans. Whether it does.
    fn choose_area(&mut self, ui: &Ui, response: &Response, scale: Scale) -> bool {
        let pans = ui.input(|input| input.modifiers.shift || input.any_touches());
        let Some(at) = response.interact_pointer_pos().map(|at| scale.time(at.x.max(scale.rect.left()))) else {
            self.area_from = None;
            return false;
        };
        if response.drag_started_by(egui::PointerButton::Primary) && !pans {
            self.area_from = Some(at);
        }
        if let Some(from) = self.area_from {
            self.area = Some(Area::between(from, at));
        }
        self.area_from.is_some()
    }

    /// W S zoom, A D pan, Ctrl+wheel and two fingers zoom at the pointer, Shift and dragging pans, F shows the selection.
    fn navigate(
        &mut self,
        ui: &Ui,
        response: &Response,
        scale: Scale,
        all: (f64, f64),
        run: Drawn<'_>,
        selection: &mut Selection,
    ) {
        let typing = ui.ctx().egui_wants_keyboard_input();
        // Arrows move what has the keyboard: as long as nothing else has it, the timeline.
        let free = !typing && ui.memory(|memory| memory.focused().is_none());
        let key = |key: Key, arrow: Key| {
            let down = |key: Key| ui.input(|input| input.key_down(key));
            (!typing && down(key)) || (free && down(arrow))
        };
        let (mut from, mut to) = (scale.from, scale.to);
        let mut zoom = |factor: f64, at: f64| {
            from = at + (from - at) * factor;
            to = at + (to - at) * factor;
        };
        let centre = response.hover_pos().map_or(f64::midpoint(scale.from, scale.to), |at| scale.time(at.x));
        if key(Key::W, Key::ArrowUp) {
            zoom(0.94, centre);
        }
        if key(Key::S, Key::ArrowDown) {
            zoom(1.0 / 0.94, centre);
        }
        if response.hovered() {
            zoom(1.0 / f64::from(ui.input(egui::InputState::zoom_delta)), centre);
        }
        let plain = |key: Key| ui.input(|input| input.key_pressed(key) && input.modifiers.is_none());
        if !typing && plain(Key::M) {
            self.mark(centre, scale.per_pixel() * MARK_NEAR);
        }
        if !typing
            && plain(Key::R)
            && let Selection::Span(selected) = *selection
            && let Some(span) = run.trace.spans.get(selected as usize)
        {
            self.choose(span.start, span.end());
            *selection = Selection::Summary;
        }
        let step = (to - from) * 0.03;
        let pan = f64::from(i8::from(key(Key::D, Key::ArrowRight)) - i8::from(key(Key::A, Key::ArrowLeft))) * step;
        let dragged = if self.area_from.is_some() { 0.0 } else { response.drag_delta().x };
        let pan = pan - f64::from(dragged) * scale.per_pixel();
        self.set_range(from + pan, to + pan, all);
        if !typing {
            self.step_selection(ui, run, selection);
        }
    }

    /// Marks a moment, or takes the mark away that is near it.
    fn mark(&mut self, at: f64, near: f64) {
        match self.marks.iter().position(|mark| (mark - at).abs() <= near) {
            Some(place) => drop(self.marks.remove(place)),
            None => self.marks.push(at),
        }
    }

    fn set_range(&mut self, from: f64, to: f64, all: (f64, f64)) {
        let length = (to - from).clamp((all.1 - all.0).min(100.0), all.1 - all.0);
        let from = from.clamp(all.0, all.1 - length);
        let is_all = length >= (all.1 - all.0) * 0.999;
        self.range = (!is_all).then_some((from, from + length));
    }

    /// Shows a span where it is not in sight.
    fn show(&mut self, trace: &Trace, span: u32) {
        let span = &trace.spans[span as usize];
        let all = (0.0, trace.step_time.0.max(1) as f64);
        let (from, to) = self.range.unwrap_or(all);
        let (start, end) = (span.start.0 as f64, span.end().0 as f64);
        if start < from || end > to {
            let middle = f64::midpoint(start, end);
            self.set_range(middle - (to - from) / 2.0, middle + (to - from) / 2.0, all);
        }
    }

    /// `.` and `,` go to the next and the previous span of the track, `[` and `]` along arrows; F shows the selected one.
    fn step_selection(&mut self, ui: &Ui, run: Drawn<'_>, selection: &mut Selection) {
        let Selection::Span(selected) = *selection else { return };
        let pressed = |key: Key| ui.input(|input| input.key_pressed(key) && input.modifiers.is_none());
        if let Some(span) = run.trace.spans.get(selected as usize) {
            if pressed(Key::P) {
                self.pin(span.track.0 as usize);
            }
            if pressed(Key::U) {
                self.fold(run.trace.track(span).group);
            }
        }
        let step = isize::from(pressed(Key::Period)) - isize::from(pressed(Key::Comma));
        if step != 0
            && let Some((track, place)) = run.index.find(run.trace, selected)
            && let Some(&next) = place.checked_add_signed(step).and_then(|place| track.spans.get(place))
        {
            *selection = Selection::Span(next);
        }
        if let Some(joined) = self.followed(run, selected, [pressed(Key::OpenBracket), pressed(Key::CloseBracket)]) {
            *selection = Selection::Span(joined);
            self.show(run.trace, joined);
        }
        if pressed(Key::F) {
            self.focus(run.trace, selected);
        }
    }

    /// The span from which an arrow leads to the selected one, or to which one leads from it.
    fn followed(&mut self, run: Drawn<'_>, selected: u32, [back, forward]: [bool; 2]) -> Option<u32> {
        if back == forward {
            return None;
        }
        let arrows = self.arrows_of(run, selected);
        let end = |&(from, to): &(u32, u32)| {
            if back { (to == selected).then_some(from) } else { (from == selected).then_some(to) }
        };
        arrows.iter().find_map(end)
    }

    /// Brings a span to the middle, among what is around it; the second time it fills the view.
    fn focus(&mut self, trace: &Trace, span: u32) {
        let span = &trace.spans[span as usize];
        let (start, length) = (span.start.0 as f64, span.duration.0.max(100) as f64);
        let all = (0.0, trace.step_time.0.max(1) as f64);
        let is_again = self.focused == Some((span.start, self.range));
        let (before, behind) = if is_again { (0.0, 1.0) } else { (2.0, 3.0) };
        self.set_range(start - before * length, start + behind * length, all);
        self.focused = (!is_again).then_some((span.start, self.range));
    }
}

/// The span under the pointer.
fn span_at(run: Drawn<'_>, tracks: &[&Track], scale: Scale, rect: Rect, at: Pos2) -> Option<u32> {
    if at.x < scale.rect.left() {
        return None;
    }
    let row = ((at.y - rect.top()) / scale.height) as usize;
    let track = tracks.get(row)?;
    let time = scale.time(at.x);
    let place = track.first_after(run.trace, time);
    let span = track.span(run.trace, place)?;
    ((span.start.0 as f64) <= time + scale.per_pixel()).then(|| track.spans[place])
}

fn tooltip_ui(ui: &mut Ui, trace: &Trace, span: u32) {
    let span = &trace.spans[span as usize];
    let label = trace.label(span);
    ui.strong(&*label.name);
    ui.label(format!("{}  {}", t_or_name("class", label.class), t_or_name("part", label.phase.name())));
    ui.monospace(span.duration.to_string());
    if span.micro_batch != Span::NO_MICRO_BATCH {
        ui.label(t_with("timeline.micro_batch", span.micro_batch));
    }
}
