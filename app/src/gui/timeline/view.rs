//! Draws the timeline and handles its keys.

use egui::{Align2, Color32, FontId, Key, Painter, Pos2, Rect, Response, Sense, Ui, pos2, vec2};
use shardlab_engine::trace::{Name, Span, Stream, Trace};
use shardlab_engine::units::Nanos;

use super::index::Block;
use super::{Drawn, Track};
use crate::gui::design_tokens::{
    TRACK_HEIGHT, TRACK_NAMES, grid_stroke, micro_batch_color, on_slice, part_color, row_shade, selection_stroke,
    span_color,
};
use crate::gui::i18n::{t, t_or_name, t_with};
use crate::gui::inspector::Selection;
use crate::gui::widgets::even_step;

/// Pixels that a slice has on average where single kernels are drawn.
const LEGIBLE: f64 = 3.0;
/// Pixels that a digit takes.
const DIGIT: f32 = 6.5;
/// Height of the ruler.
const RULER: f32 = 20.0;

/// The visible part of the time.
#[derive(Debug, Default)]
pub struct TimelineView {
    /// First and last visible nanosecond; `None` shows all.
    range: Option<(f64, f64)>,
    /// Whether stages are drawn over time in the colours of their micro-batches, instead of all streams.
    pipeline: bool,
}

/// From nanoseconds to pixels.
#[derive(Clone, Copy)]
struct Scale {
    rect: Rect,
    from: f64,
    to: f64,
    /// Height of a row.
    height: f32,
}

impl Scale {
    fn x(&self, at: f64) -> f32 {
        self.rect.left() + ((at - self.from) / (self.to - self.from)) as f32 * self.rect.width()
    }

    fn time(&self, x: f32) -> f64 {
        self.from + f64::from((x - self.rect.left()) / self.rect.width()) * (self.to - self.from)
    }

    fn per_pixel(&self) -> f64 {
        (self.to - self.from) / f64::from(self.rect.width().max(1.0))
    }
}

impl TimelineView {
    /// Shows all of the time.
    pub fn fit(&mut self) {
        self.range = None;
    }

    /// Shows stages by micro-batch, or streams again.
    pub fn toggle_pipeline(&mut self) {
        self.pipeline = !self.pipeline;
    }

    /// What has a row: every stream, or the kernels of every stage.
    fn rows<'a>(&self, run: Drawn<'a>) -> Vec<&'a Track> {
        run.index.tracks.iter().filter(|track| !self.pipeline || track.stream == Stream::Compute).collect()
    }

    fn choice_ui(&mut self, ui: &mut Ui, has_stages: bool) {
        ui.horizontal(|ui| {
            if !has_stages {
                ui.weak(t("timeline.hint"));
                return;
            }
            ui.selectable_value(&mut self.pipeline, false, t("timeline.streams"))
                .on_hover_text(t("timeline.streams.tip"));
            ui.selectable_value(&mut self.pipeline, true, t("timeline.pipeline"))
                .on_hover_text(t("timeline.pipeline.tip"));
            ui.weak(t("timeline.hint"));
        });
    }

    /// Draws the timeline.
    pub fn ui(&mut self, ui: &mut Ui, run: Drawn<'_>, selection: &mut Selection) {
        self.choice_ui(ui, run.groups.is_empty());
        let all = (0.0, run.trace.step_time.0.max(1) as f64);
        let (from, to) = self.range.unwrap_or(all);
        let width = ui.available_width();
        let (ruler, _) = ui.allocate_exact_size(vec2(width, RULER), Sense::hover());
        let plot = |rect: Rect| rect.with_min_x(rect.left() + TRACK_NAMES);
        let scale = Scale { rect: plot(ruler), from, to, height: 0.0 };
        ruler_ui(ui.painter(), ui.visuals(), scale);
        egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
            let tracks = self.rows(run);
            let rows = tracks.len() as f32;
            let height =
                (ui.available_height() / rows.max(1.0)).clamp(*TRACK_HEIGHT.start(), *TRACK_HEIGHT.end()).floor();
            let (rect, response) = ui.allocate_exact_size(vec2(width, rows * height), Sense::click_and_drag());
            response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Figure, true, t("timeline.name")));
            let scale = Scale { rect: plot(rect), height, ..scale };
            self.navigate(ui, &response, scale, all, run, selection);
            rows_ui(ui, rect, scale, run, (&tracks, self.pipeline), selection);
            let hovered = response.hover_pos().and_then(|at| span_at(run, &tracks, scale, rect, at));
            if response.clicked() {
                *selection = hovered.map_or(Selection::Summary, Selection::Span);
            }
            if let Some(span) = hovered {
                response.on_hover_ui_at_pointer(|ui| tooltip_ui(ui, run.trace, span));
            }
        });
    }

    /// W S zoom, A D pan, Ctrl+wheel zooms at the pointer, dragging pans, F shows the selection.
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
        let key = |key: Key| !typing && ui.input(|input| input.key_down(key));
        let (mut from, mut to) = (scale.from, scale.to);
        let mut zoom = |factor: f64, at: f64| {
            from = at + (from - at) * factor;
            to = at + (to - at) * factor;
        };
        let centre = response.hover_pos().map_or(f64::midpoint(scale.from, scale.to), |at| scale.time(at.x));
        if key(Key::W) {
            zoom(0.94, centre);
        }
        if key(Key::S) {
            zoom(1.0 / 0.94, centre);
        }
        if response.hovered() {
            zoom(1.0 / f64::from(ui.input(egui::InputState::zoom_delta)), centre);
        }
        let step = (to - from) * 0.03;
        let pan = f64::from(i8::from(key(Key::D)) - i8::from(key(Key::A))) * step;
        let pan = pan - f64::from(response.drag_delta().x) * scale.per_pixel();
        self.set_range(from + pan, to + pan, all);
        if !typing {
            self.step_selection(ui, run, selection);
        }
    }

    fn set_range(&mut self, from: f64, to: f64, all: (f64, f64)) {
        let length = (to - from).clamp(100.0, all.1 - all.0);
        let from = from.clamp(all.0, all.1 - length);
        let is_all = length >= (all.1 - all.0) * 0.999;
        self.range = (!is_all).then_some((from, from + length));
    }

    /// `.` and `,` go to the next and the previous span of the track; F shows the selected one.
    fn step_selection(&mut self, ui: &Ui, run: Drawn<'_>, selection: &mut Selection) {
        let Selection::Span(selected) = *selection else { return };
        let pressed = |key: Key| ui.input(|input| input.key_pressed(key));
        let step = isize::from(pressed(Key::Period)) - isize::from(pressed(Key::Comma));
        if step != 0
            && let Some((track, place)) = run.index.find(run.trace, selected)
            && let Some(&next) = place.checked_add_signed(step).and_then(|place| track.spans.get(place))
        {
            *selection = Selection::Span(next);
        }
        if pressed(Key::F) {
            let span = run.trace.spans[selected as usize];
            let (start, length) = (span.start.0 as f64, span.duration.0.max(100) as f64);
            self.set_range(start - 2.0 * length, start + 3.0 * length, (0.0, run.trace.step_time.0.max(1) as f64));
        }
    }
}

/// Times above the rows: 1, 2 or 5 times a power of ten apart.
fn ruler_ui(painter: &Painter, visuals: &egui::Visuals, scale: Scale) {
    let step = even_step((scale.per_pixel() * 110.0).max(1.0));
    let mut at = (scale.from / step).ceil() * step;
    while at <= scale.to {
        let x = scale.x(at);
        painter.vline(x, scale.rect.y_range(), grid_stroke(visuals));
        let text = if at == 0.0 { "0".to_owned() } else { Nanos(at as i64).to_string() };
        let color = visuals.weak_text_color();
        let text = painter.layout_no_wrap(text, FontId::proportional(11.0), color);
        // A text that would be cut off at the end stands before its line.
        let after = x + 3.0 + text.size().x <= scale.rect.right();
        let left = if after { x + 3.0 } else { x - 3.0 - text.size().x };
        painter.galley(pos2(left, scale.rect.center().y - text.size().y / 2.0), text, color);
        at += step;
    }
}

fn rows_ui(
    ui: &Ui,
    rect: Rect,
    scale: Scale,
    run: Drawn<'_>,
    (tracks, pipeline): (&[&Track], bool),
    selection: &Selection,
) {
    let clip = ui.clip_rect();
    let mut group = None;
    for (row, &track) in tracks.iter().enumerate() {
        let top = rect.top() + row as f32 * scale.height;
        let line = Rect::from_min_size(pos2(rect.left(), top), vec2(rect.width(), scale.height));
        let first = group.replace(track.group) != Some(track.group);
        if !clip.intersects(line) {
            continue;
        }
        if track.group % 2 == 1 {
            ui.painter().rect_filled(line, 0.0, row_shade(ui.visuals()));
        }
        name_ui(ui, line, track, run.groups.get(track.group as usize), first);
        slices_ui(ui, line, scale, run, (track, pipeline), selection);
    }
}

/// The stream's name, and in the first row of a group the stage and how many ranks it stands for.
fn name_ui(ui: &Ui, line: Rect, track: &Track, group: Option<&Name>, first: bool) {
    let painter = ui.painter().with_clip_rect(line.with_max_x(line.left() + TRACK_NAMES).intersect(ui.clip_rect()));
    if first {
        let text = match group {
            Some(name) => name.to_string(),
            None => format!("{} {} ×{}", t("timeline.stage"), track.stage, track.ranks),
        };
        painter.text(
            pos2(line.left() + 4.0, line.center().y),
            Align2::LEFT_CENTER,
            text,
            FontId::proportional(11.5),
            ui.visuals().strong_text_color(),
        );
        painter.hline(line.x_range(), line.top(), grid_stroke(ui.visuals()));
    }
    let at = pos2(line.left() + TRACK_NAMES - 6.0, line.center().y);
    painter.text(
        at,
        Align2::RIGHT_CENTER,
        track.name.as_deref().unwrap_or_else(|| t_or_name("stream", track.stream.name())),
        FontId::proportional(11.0),
        ui.visuals().weak_text_color(),
    );
}

fn slices_ui(
    ui: &Ui,
    line: Rect,
    scale: Scale,
    run: Drawn<'_>,
    (track, pipeline): (&Track, bool),
    selection: &Selection,
) {
    let clip = line.with_min_x(line.left() + TRACK_NAMES).intersect(ui.clip_rect());
    let painter = ui.painter().with_clip_rect(clip);
    let mean = run.trace.step_time.0 as f64 / track.spans.len().max(1) as f64;
    if !track.blocks.is_empty() && (pipeline || mean / scale.per_pixel() < LEGIBLE) {
        let color = |block: &Block| {
            let of_micro_batch = pipeline && block.micro_batch != Span::NO_MICRO_BATCH;
            if of_micro_batch {
                micro_batch_color(block.micro_batch, block.phase)
            } else {
                part_color(block.phase.name())
            }
        };
        blocks_ui(&painter, line, scale, track, color);
        return selected_ui(&painter, ui.visuals(), line, scale, run.trace, track, selection);
    }
    let mut place = track.first_after(run.trace, scale.from);
    while let Some(span) = track.span(run.trace, place) {
        let (left, right) = (scale.x(span.start.0 as f64), scale.x(span.end().0 as f64));
        if left > clip.right() {
            break;
        }
        let selected = *selection == Selection::Span(track.spans[place]);
        let rect = Rect::from_x_y_ranges(left..=right.max(left + 1.0), line.shrink2(vec2(0.0, 1.0)).y_range());
        slice_ui(&painter, rect, run.trace, span, track.stream);
        if selected {
            outline_ui(&painter, ui.visuals(), rect);
        }
        // What lies within the same pixel is not drawn again.
        place = if right - left < 1.0 {
            track.first_after(run.trace, scale.time(left + 1.0)).max(place + 1)
        } else {
            place + 1
        };
    }
}

/// Forward, backward and update of each micro-batch as one slice, with its number.
fn blocks_ui(painter: &Painter, line: Rect, scale: Scale, track: &Track, color: impl Fn(&Block) -> Color32) {
    let first = track.blocks.partition_point(|block| (block.end.0 as f64) < scale.from);
    for block in track.blocks[first..].iter().take_while(|block| (block.start.0 as f64) <= scale.to) {
        let (left, right) = (scale.x(block.start.0 as f64), scale.x(block.end.0 as f64));
        let rect = Rect::from_x_y_ranges(left..=(right - 1.0).max(left + 1.0), line.shrink2(vec2(0.0, 1.0)).y_range());
        painter.rect_filled(rect, 2.0, color(block));
        let number = block.micro_batch.to_string();
        if block.micro_batch != Span::NO_MICRO_BATCH && rect.width() > DIGIT * number.len() as f32 + 2.0 {
            let font = FontId::proportional(11.0);
            painter.text(rect.center(), Align2::CENTER_CENTER, number, font, on_slice());
        }
    }
}

/// Marks the selected span where only blocks are drawn: it lies somewhere inside one.
fn selected_ui(
    painter: &Painter,
    visuals: &egui::Visuals,
    line: Rect,
    scale: Scale,
    trace: &Trace,
    track: &Track,
    selection: &Selection,
) {
    let Selection::Span(index) = *selection else { return };
    if let Some(span) = trace.spans.get(index as usize).filter(|span| span.track.0 as usize == track.index) {
        let (left, right) = (scale.x(span.start.0 as f64), scale.x(span.end().0 as f64));
        outline_ui(painter, visuals, Rect::from_x_y_ranges(left - 2.0..=right.max(left) + 2.0, line.y_range()));
    }
}

fn outline_ui(painter: &Painter, visuals: &egui::Visuals, rect: Rect) {
    painter.rect_stroke(rect, 1.0, selection_stroke(visuals), egui::StrokeKind::Inside);
}

/// Kernels have the colour of their class, communication that of its axis, as in the breakdown.
fn slice_ui(painter: &Painter, rect: Rect, trace: &Trace, span: &Span, stream: Stream) {
    let label = trace.label(span);
    painter.rect_filled(rect, 1.0, span_color(stream, label.class));
    if rect.width() > 26.0 {
        let number =
            if span.micro_batch == Span::NO_MICRO_BATCH { String::new() } else { format!("{} ", span.micro_batch) };
        let text = format!("{number}{}", label.name);
        let clipped = painter.with_clip_rect(rect.intersect(painter.clip_rect()));
        clipped.text(
            rect.left_center() + vec2(3.0, 0.0),
            Align2::LEFT_CENTER,
            text,
            FontId::proportional(10.5),
            on_slice(),
        );
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
