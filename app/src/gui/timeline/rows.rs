//! Draws the rows of a timeline: names, slices, blocks, arrows.

use egui::{Align2, Color32, FontId, Painter, Rect, Ui, pos2, vec2};
use shardlab_engine::trace::{Name, Span, Stream, Trace};
use shardlab_engine::units::Nanos;

use super::index::Block;
use super::scale::Scale;
use super::{Drawn, Track};
use crate::gui::design_tokens::{
    TRACK_NAMES, grid_stroke, micro_batch_color, on_slice, part_color, row_shade, selection_stroke, span_color,
};
use crate::gui::i18n::{t, t_or_name};
use crate::gui::inspector::Selection;
use crate::gui::widgets::even_step;

/// Pixels that a slice has on average where single kernels are drawn.
const LEGIBLE: f64 = 3.0;
/// Pixels that a digit takes.
const DIGIT: f32 = 6.5;
/// What is left of the colour of a slice that is not meant.
const DIMMED: f32 = 0.22;

/// What of a trace is meant: on the critical path, found by a search; all where there is nothing to ask.
pub(super) type Lit<'a> = Option<&'a dyn Fn(u32) -> bool>;

/// How rows are drawn.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    /// In the colours of micro-batches.
    pub pipeline: bool,
    /// What is meant.
    pub lit: Lit<'a>,
}

/// Times above the rows: 1, 2 or 5 times a power of ten apart.
pub(super) fn ruler_ui(painter: &Painter, visuals: &egui::Visuals, scale: Scale) {
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

pub(super) fn rows_ui(
    ui: &Ui,
    rect: Rect,
    scale: Scale,
    run: Drawn<'_>,
    (tracks, look): (&[&Track], Look<'_>),
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
        slices_ui(ui, line, scale, run, (track, look), selection);
    }
}

/// Arrows between spans: from where each begins to where it ends.
pub(super) fn arrows_ui(ui: &Ui, rect: Rect, scale: Scale, run: Drawn<'_>, tracks: &[&Track], flows: &[(u32, u32)]) {
    let clip = rect.with_min_x(scale.rect.left()).intersect(ui.clip_rect());
    let painter = ui.painter().with_clip_rect(clip);
    let middle = |span: &Span| {
        let row = tracks.iter().position(|track| track.index == span.track.0 as usize)?;
        Some(rect.top() + (row as f32 + 0.5) * scale.height)
    };
    for &(from, to) in flows {
        let [from, to] = [from, to].map(|span| &run.trace.spans[span as usize]);
        let (Some(top), Some(bottom)) = (middle(from), middle(to)) else { continue };
        let start = pos2(scale.x(from.start.0 as f64), top);
        let end = pos2(scale.x(to.start.0 as f64), bottom);
        let bend = vec2(((end.x - start.x) / 2.0).abs().clamp(12.0, 60.0), 0.0);
        let points = [start, start + bend, end - bend, end];
        let stroke = selection_stroke(ui.visuals());
        painter.add(egui::epaint::CubicBezierShape::from_points_stroke(points, false, Color32::TRANSPARENT, stroke));
        painter.circle_filled(end, 3.0, stroke.color);
    }
}

/// A moment that was marked: a line with its number and time.
pub(super) fn mark_ui(ui: &Ui, rect: Rect, scale: Scale, at: f64, number: u32) {
    let x = scale.x(at);
    if !scale.rect.x_range().contains(x) {
        return;
    }
    let stroke = selection_stroke(ui.visuals());
    ui.painter().vline(x, rect.y_range(), egui::Stroke::new(1.0, stroke.color));
    let text = format!("{number}: {}", Nanos(at as i64));
    let font = FontId::proportional(10.5);
    ui.painter().text(pos2(x + 3.0, rect.bottom() - 2.0), Align2::LEFT_BOTTOM, text, font, stroke.color);
}

/// The stream's name, and in the first row of a group the stage and how many ranks it stands for.
fn name_ui(ui: &Ui, line: Rect, track: &Track, group: Option<&Name>, first: bool) {
    let painter = ui.painter().with_clip_rect(line.with_max_x(line.left() + TRACK_NAMES).intersect(ui.clip_rect()));
    let stream = track.name.as_deref().unwrap_or_else(|| t_or_name("stream", track.stream.name()));
    let (font, color) = (FontId::proportional(11.0), ui.visuals().weak_text_color());
    let stream = painter.layout_no_wrap(stream.to_owned(), font, color);
    let left = line.left() + TRACK_NAMES - 6.0 - stream.size().x;
    painter.galley(pos2(left, line.center().y - stream.size().y / 2.0), stream, color);
    if first {
        let text = match group {
            Some(name) => name.to_string(),
            None => format!("{} {} ×{}", t("timeline.stage"), track.stage, track.ranks),
        };
        // As much of it as there is room for before the name of the stream.
        let room = line.with_max_x(left - 4.0).intersect(painter.clip_rect());
        painter.with_clip_rect(room).text(
            pos2(line.left() + 4.0, line.center().y),
            Align2::LEFT_CENTER,
            text,
            FontId::proportional(11.5),
            ui.visuals().strong_text_color(),
        );
        painter.hline(line.x_range(), line.top(), grid_stroke(ui.visuals()));
    }
}

fn slices_ui(
    ui: &Ui,
    line: Rect,
    scale: Scale,
    run: Drawn<'_>,
    (track, look): (&Track, Look<'_>),
    selection: &Selection,
) {
    let pipeline = look.pipeline;
    let clip = line.with_min_x(line.left() + TRACK_NAMES).intersect(ui.clip_rect());
    let painter = ui.painter().with_clip_rect(clip);
    let mean = run.trace.step_time.0 as f64 / track.spans.len().max(1) as f64;
    let too_narrow = mean / scale.per_pixel() < LEGIBLE && look.lit.is_none();
    if !track.blocks.is_empty() && (pipeline || too_narrow) {
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
    // Slices of a pixel are many where a trace is long: they go into one mesh, which is not cut into triangles again.
    let (under, mut narrow) = (painter.add(egui::Shape::Noop), egui::Mesh::default());
    let mut place = track.first_after(run.trace, scale.from);
    while let Some(span) = track.span(run.trace, place) {
        let (left, right) = (scale.x(span.start.0 as f64), scale.x(span.end().0 as f64));
        if left > clip.right() {
            break;
        }
        let selected = *selection == Selection::Span(track.spans[place]);
        let rect = Rect::from_x_y_ranges(left..=right.max(left + 1.0), line.shrink2(vec2(0.0, 1.0)).y_range());
        // What lies within the same pixel is not drawn again.
        let is_narrow = right - left < 1.0;
        let next = if is_narrow {
            track.next_after(run.trace, place, scale.time(left + 1.0)).max(place + 1)
        } else {
            place + 1
        };
        let is_lit = look.lit.is_none_or(|lit| track.spans[place..next].iter().any(|&span| lit(span)));
        if is_narrow {
            narrow.add_colored_rect(rect, slice_color(run.trace, span, (track.stream, is_lit)));
        } else {
            slice_ui(&painter, rect, run.trace, span, (track.stream, is_lit));
        }
        if selected {
            outline_ui(&painter, ui.visuals(), rect);
        }
        place = next;
    }
    painter.set(under, narrow);
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
fn slice_color(trace: &Trace, span: &Span, (stream, is_lit): (Stream, bool)) -> Color32 {
    let color = span_color(stream, trace.label(span).class);
    if is_lit { color } else { color.gamma_multiply(DIMMED) }
}

/// A slice with its name, where there is room for it.
fn slice_ui(painter: &Painter, rect: Rect, trace: &Trace, span: &Span, (stream, is_lit): (Stream, bool)) {
    let label = trace.label(span);
    painter.rect_filled(rect, 1.0, slice_color(trace, span, (stream, is_lit)));
    if rect.width() > 26.0 && is_lit {
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
