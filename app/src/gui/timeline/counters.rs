//! Counters over time: memory of every group of ranks, and how much of each moment its streams communicate.

use egui::{Align2, Color32, FontId, Mesh, Pos2, Rect, Ui, pos2};
use shardlab_engine::trace::{MemoryCurve, Stream};
use shardlab_engine::units::Bytes;

use super::scale::Scale;
use super::{Drawn, Track};
use crate::gui::design_tokens::{TRACK_NAMES, grid_stroke, memory_color, part_color};
use crate::gui::i18n::{t, t_with};

/// Height of a counter.
pub(super) const COUNTER: f32 = 34.0;
/// Groups of ranks whose counters are drawn.
const GROUPS: usize = 4;
/// Pixels of a bar of communication.
const BAR: f32 = 3.0;

/// The groups of ranks that have rows, the first few.
fn groups(run: Drawn<'_>) -> Vec<u32> {
    let mut groups: Vec<u32> = run.index.tracks.iter().map(|track| track.group).collect();
    groups.dedup();
    groups.truncate(GROUPS);
    groups
}

fn curve(run: Drawn<'_>, group: u32) -> Option<&MemoryCurve> {
    run.trace.memory.iter().find(|curve| curve.group == group && !curve.samples.is_empty())
}

/// How many counters there are: memory where it is known, and communication, of each group.
pub(super) fn counters(run: Drawn<'_>) -> usize {
    groups(run).into_iter().map(|group| 1 + usize::from(curve(run, group).is_some())).sum()
}

/// Draws them.
pub(super) fn counters_ui(ui: &Ui, rect: Rect, scale: Scale, run: Drawn<'_>) {
    let mut top = rect.top();
    let mut next = || {
        let line = Rect::from_min_max(pos2(rect.left(), top), pos2(rect.right(), top + COUNTER));
        top += COUNTER;
        ui.painter().hline(line.x_range(), line.bottom(), grid_stroke(ui.visuals()));
        line
    };
    for group in groups(run) {
        if let Some(curve) = curve(run, group) {
            memory_ui(ui, next(), scale, curve);
        }
        links_ui(ui, next(), scale, run, group);
    }
}

fn name_ui(ui: &Ui, line: Rect, stage: u32, name: &str, most: &str) {
    let at = pos2(line.left() + TRACK_NAMES - 6.0, line.center().y);
    let text = format!("{} {stage} · {name}\n{most}", t("timeline.stage"));
    let (font, color) = (FontId::proportional(10.5), ui.visuals().text_color());
    ui.painter().text(at, Align2::RIGHT_CENTER, text, font, color);
}

/// The most of every pixel, over the most of all.
fn memory_ui(ui: &Ui, line: Rect, scale: Scale, curve: &MemoryCurve) {
    let peak = curve.samples.iter().map(|sample| sample.used.total().0).max().unwrap_or(0).max(1);
    name_ui(ui, line, curve.stage, t("timeline.memory"), &t_with("timeline.at_most", Bytes(peak)));
    let first = curve.samples.partition_point(|sample| (sample.at.0 as f64) < scale.from).saturating_sub(1);
    let y = |bytes: u64| line.bottom() - 2.0 - (bytes as f64 / peak as f64) as f32 * (COUNTER - 5.0);
    let mut columns = Columns { mesh: Mesh::default(), bottom: line.bottom() - 1.0 };
    let color = memory_color(shardlab_engine::trace::MemoryCategory::OptimizerState);
    let (mut from, mut most) = (scale.rect.left(), 0);
    for sample in &curve.samples[first..] {
        let x = scale.x(sample.at.0 as f64).clamp(scale.rect.left(), scale.rect.right());
        if x > from + 0.5 {
            columns.add(from, x, y(most), color);
            from = x;
            most = 0;
        }
        most = most.max(sample.used.total().0);
        if sample.at.0 as f64 > scale.to {
            break;
        }
    }
    columns.add(from, scale.rect.right(), y(most), color);
    ui.painter().add(columns.mesh);
}

/// How much of every few pixels the busiest stream of the group communicates.
fn links_ui(ui: &Ui, line: Rect, scale: Scale, run: Drawn<'_>, group: u32) {
    let of_group = |track: &&Track| track.group == group && is_link(track.stream);
    let tracks: Vec<&Track> = run.index.tracks.iter().filter(of_group).collect();
    let stage = run.index.tracks.iter().find(|track| track.group == group).map_or(0, |track| track.stage);
    name_ui(ui, line, stage, t("timeline.links"), "0–100 %");
    let bars = (scale.rect.width() / BAR).ceil().max(1.0) as usize;
    let mut busy = vec![0.0_f32; bars];
    let width = (scale.to - scale.from) / bars as f64;
    for track in tracks {
        let mut of_track = vec![0.0_f32; bars];
        let begin = track.first_after(run.trace, scale.from);
        for &span in &track.spans[begin..] {
            let span = &run.trace.spans[span as usize];
            let (start, end) = (span.start.0 as f64 - scale.from, span.end().0 as f64 - scale.from);
            if start > scale.to - scale.from {
                break;
            }
            let last = ((end / width).ceil() as usize).min(bars);
            for (bar, share) in busy.iter_mut().enumerate().take(last).skip((start / width).max(0.0) as usize) {
                let covered = end.min((bar as f64 + 1.0) * width) - start.max(bar as f64 * width);
                of_track[bar] += (covered.max(0.0) / width) as f32;
                *share = share.max(of_track[bar]);
            }
        }
    }
    let mut columns = Columns { mesh: Mesh::default(), bottom: line.bottom() - 1.0 };
    for (bar, share) in busy.into_iter().enumerate().filter(|(_, share)| *share > 0.0) {
        let left = scale.rect.left() + bar as f32 * BAR;
        let top = line.bottom() - 2.0 - share.min(1.0) * (COUNTER - 5.0);
        columns.add(left, (left + BAR).min(scale.rect.right()), top, part_color("exposed_tp"));
    }
    ui.painter().add(columns.mesh);
}

fn is_link(stream: Stream) -> bool {
    stream.is_communication() && !matches!(stream, Stream::Host | Stream::Input)
}

/// Columns that stand on one line.
struct Columns {
    mesh: Mesh,
    bottom: f32,
}

impl Columns {
    fn add(&mut self, left: f32, right: f32, top: f32, color: Color32) {
        let rect = Rect::from_min_max(Pos2::new(left, top), Pos2::new(right, self.bottom));
        if rect.is_positive() {
            self.mesh.add_colored_rect(rect, color);
        }
    }
}
