//! Pictures as SVG text: the step over time, memory over time, bars and grids of shares.

use std::fmt::Write as _;

use super::palette::{memory_rgb, part_of, part_rgb};
use crate::analysis::{Breakdown, HeatRow, StepReport, heat_map};
use crate::trace::{MemoryCategory, Stream, Trace};
use crate::units::{Bytes, Nanos};

/// Width of all pictures, in pixels.
const WIDTH: f64 = 1200.0;
/// Left of the plot, for names.
const NAMES: f64 = 130.0;
/// Height of a row.
const ROW: f64 = 16.0;
/// Rows of a timeline, at most: the groups of a larger step that follow are left out, which the picture says.
const ROWS: usize = 48;

/// Parts of the step in the picture of ranks over time.
pub(super) const BINS: usize = 240;

/// Pictures of a step, each with the name of a file: the timeline, where the time goes, ranks over time, and memory of every
/// group of ranks that knows it.
pub fn pictures(trace: &Trace, report: &StepReport) -> Vec<(String, String)> {
    let mut pictures = vec![
        ("timeline.svg".to_owned(), timeline_svg(trace, trace.step_time)),
        ("breakdown.svg".to_owned(), breakdown_svg(&report.breakdown, report.step_time)),
        ("ranks.svg".to_owned(), heat_svg(&heat_map(trace, BINS))),
    ];
    let stages = trace.memory.iter().enumerate().filter(|(_, curve)| !curve.samples.is_empty());
    let memory = stages.map(|(index, curve)| {
        let name = format!("memory.stage{}.rank{}.svg", curve.stage, rank_of(trace, curve.group));
        (name, memory_svg(trace, index, report.fit.capacity))
    });
    pictures.extend(memory);
    pictures
}

/// The first rank of a group.
fn rank_of(trace: &Trace, group: u32) -> u32 {
    trace.tracks.iter().find(|track| track.group == group).map_or(group, |track| track.rank)
}

/// A text that may stand in XML.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML 1.0 has no other control characters.
            '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

fn begin(height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" \
         height=\"{height:.0}\" font-family=\"system-ui, sans-serif\" font-size=\"11\" fill=\"currentColor\">\n"
    )
}

fn rect(svg: &mut String, [x, y, width, height]: [f64; 4], rgb: u32, title: &str) {
    let _ =
        write!(svg, "<rect x=\"{x:.2}\" y=\"{y:.1}\" width=\"{width:.2}\" height=\"{height:.1}\" fill=\"#{rgb:06x}\"");
    let _ = if title.is_empty() {
        svg.write_str("/>\n")
    } else {
        writeln!(svg, "><title>{}</title></rect>", escaped(title))
    };
}

fn text(svg: &mut String, [x, y]: [f64; 2], anchor: &str, text: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>", escaped(text));
}

/// Times under the rows: 1, 2 or 5 times a power of ten apart.
fn ruler(svg: &mut String, length: Nanos, y: f64) {
    let rough = (length.0 as f64 / 8.0).max(1.0);
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power).find(|&n| n >= rough).unwrap_or(rough);
    let mut at = 0.0;
    while at <= length.0 as f64 {
        let x = NAMES + at / (length.0.max(1) as f64) * (WIDTH - NAMES);
        let label = if at == 0.0 { "0".to_owned() } else { Nanos::from_secs(at / 1e9).to_string() };
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{y:.1}\" stroke=\"currentColor\" \
             stroke-opacity=\"0.25\"/>",
            y - 5.0
        );
        text(svg, [x.min(WIDTH - 40.0) + 3.0, y], "start", &label);
        at += step;
    }
}

/// The step over time: a row for every stream that has any, kernels in the colours of their part of the step, with
/// `length` nanoseconds over the width. Neighbours of one colour that are nearer than a pixel are drawn as one.
pub fn timeline_svg(trace: &Trace, length: Nanos) -> String {
    let rows: Vec<usize> = used_tracks(trace);
    let shown = rows.len().min(ROWS);
    let height = shown as f64 * ROW + 24.0 + if rows.len() > shown { ROW } else { 0.0 };
    let mut svg = begin(height);
    let mut spans: Vec<Vec<(Nanos, Nanos, u32)>> = vec![Vec::new(); trace.tracks.len()];
    for span in &trace.spans {
        let (track, label) = (trace.track(span), trace.label(span));
        let part = if track.stream == Stream::Compute { label.phase.name() } else { part_of(track.stream) };
        spans[span.track.0 as usize].push((span.start, span.end(), part_rgb(part)));
    }
    let scale = (WIDTH - NAMES) / length.0.max(1) as f64;
    for (row, &track) in rows.iter().take(shown).enumerate() {
        let y = row as f64 * ROW;
        let of = &trace.tracks[track];
        let name = of.name.as_ref().map_or_else(|| of.stream.name().to_owned(), ToString::to_string);
        text(&mut svg, [NAMES - 6.0, y + 11.5], "end", &format!("{} ×{} {name}", of.stage, of.ranks));
        spans[track].sort_unstable();
        for (from, until, rgb) in merged(&spans[track], 0.7 / scale) {
            let width = ((until - from).max(0.4 / scale)) * scale;
            rect(&mut svg, [NAMES + from * scale, y + 1.5, width, ROW - 3.0], rgb, "");
        }
    }
    if rows.len() > shown {
        text(&mut svg, [NAMES, shown as f64 * ROW + 12.0], "start", &format!("and {} more rows", rows.len() - shown));
    }
    ruler(&mut svg, length, height - 4.0);
    svg.push_str("</svg>\n");
    svg
}

/// Tracks that have spans, in their order.
fn used_tracks(trace: &Trace) -> Vec<usize> {
    let mut used = vec![false; trace.tracks.len()];
    trace.spans.iter().for_each(|span| used[span.track.0 as usize] = true);
    (0..used.len()).filter(|&track| used[track]).collect()
}

/// Joins neighbours of one colour with gaps below `least` nanoseconds, in floating point for the picture.
fn merged(spans: &[(Nanos, Nanos, u32)], least: f64) -> Vec<(f64, f64, u32)> {
    let mut all: Vec<(f64, f64, u32)> = Vec::new();
    for &(from, until, rgb) in spans {
        let (from, until) = (from.0 as f64, until.0 as f64);
        match all.last_mut() {
            Some(last) if last.2 == rgb && from - last.1 < least => last.1 = last.1.max(until),
            // What is narrower than a pixel behind something of another colour would not be seen.
            Some(last) if until - last.1 < least && until - from < least => {}
            _ => all.push((from, until, rgb)),
        }
    }
    all
}

/// A bar of the parts of a step, `length` long over the width.
pub fn breakdown_svg(parts: &Breakdown, length: Nanos) -> String {
    let mut svg = begin(26.0);
    let (scale, mut x) = (WIDTH / length.0.max(1) as f64, 0.0);
    for (name, time) in parts.parts().into_iter().filter(|(_, time)| time.0 > 0) {
        let width = time.0 as f64 * scale;
        rect(&mut svg, [x, 2.0, width, 22.0], part_rgb(name), &format!("{name} {time}"));
        x += width;
    }
    svg.push_str("</svg>\n");
    svg
}

/// Points of a curve that are drawn.
const POINTS: usize = 600;
/// Height of a memory picture.
const MEMORY: f64 = 180.0;

/// Memory of a group of ranks over time, stacked by category, with the capacity as a line where it is near.
pub fn memory_svg(trace: &Trace, curve: usize, capacity: Bytes) -> String {
    let mut svg = begin(MEMORY + 20.0);
    let Some(curve) = trace.memory.get(curve) else { return svg + "</svg>\n" };
    let peak = curve.samples.iter().map(|sample| sample.used.total().0).max().unwrap_or(0).max(1);
    let top = if capacity.0 < 4 * peak { peak.max(capacity.0) } else { peak } as f64;
    let every = curve.samples.len().div_ceil(POINTS).max(1);
    let chosen: Vec<_> =
        curve.samples.chunks(every).filter_map(|chunk| chunk.iter().max_by_key(|s| s.used.total())).collect();
    let x = |at: Nanos| NAMES + at.0 as f64 / trace.step_time.0.max(1) as f64 * (WIDTH - NAMES);
    let y = |bytes: f64| MEMORY - bytes / top * (MEMORY - 8.0);
    for (level, category) in MemoryCategory::ALL.into_iter().enumerate().rev() {
        let sum = |used: &crate::trace::MemoryUse| {
            MemoryCategory::ALL[..=level].iter().map(|&category| used.get(category).as_f64()).sum::<f64>()
        };
        let mut path = format!("M{:.1} {MEMORY:.1}", x(Nanos::ZERO));
        let mut last = 0.0;
        for sample in &chosen {
            // A sample holds until the next: a step, not a ramp.
            let _ = write!(path, "L{:.1} {:.1}", x(sample.at), y(last));
            last = sum(&sample.used);
            let _ = write!(path, "L{:.1} {:.1}", x(sample.at), y(last));
        }
        let _ = write!(path, "L{WIDTH:.1} {:.1}L{WIDTH:.1} {MEMORY:.1}Z", y(last));
        let _ = writeln!(
            svg,
            "<path d=\"{path}\" fill=\"#{:06x}\"><title>{}</title></path>",
            memory_rgb(category),
            category.name()
        );
    }
    if capacity.as_f64() <= top {
        let line = y(capacity.as_f64());
        let _ = writeln!(
            svg,
            "<line x1=\"{NAMES}\" x2=\"{WIDTH}\" y1=\"{line:.1}\" y2=\"{line:.1}\" stroke=\"currentColor\" \
             stroke-dasharray=\"6 4\"/>"
        );
        text(&mut svg, [NAMES - 6.0, line + 4.0], "end", &format!("device {capacity}"));
    }
    text(&mut svg, [NAMES - 6.0, y(peak as f64) + 4.0], "end", &format!("peak {}", Bytes(peak)));
    ruler(&mut svg, trace.step_time, MEMORY + 16.0);
    svg.push_str("</svg>\n");
    svg
}

/// Ranks over time: how much of each moment a group computes (blue), communicates exposed (orange), or waits (dark).
pub fn heat_svg(rows: &[HeatRow]) -> String {
    let shown = &rows[..rows.len().min(ROWS)];
    let mut svg = begin(shown.len() as f64 * ROW + 4.0);
    let bins = shown.first().map_or(1, |row| row.compute.len()).max(1);
    let width = (WIDTH - NAMES) / bins as f64;
    for (number, row) in shown.iter().enumerate() {
        let y = number as f64 * ROW;
        text(&mut svg, [NAMES - 6.0, y + 11.5], "end", &format!("stage {} ×{}", row.stage, row.ranks));
        for (bin, (compute, exposed)) in row.compute.iter().zip(&row.exposed).enumerate() {
            let rgb = heat_rgb(*compute, *exposed);
            rect(&mut svg, [NAMES + bin as f64 * width, y + 1.0, width + 0.3, ROW - 2.0], rgb, "");
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// The colour of a moment: between waiting (grey), computing (blue) and exposed communication (orange), by their shares.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a channel of a colour")]
pub fn heat_rgb(compute: f32, exposed: f32) -> u32 {
    let (compute, exposed) = (compute.clamp(0.0, 1.0), exposed.clamp(0.0, 1.0));
    let idle = (1.0 - compute - exposed).max(0.0);
    let mix = |shift: u32| {
        let channel = |rgb: u32| ((rgb >> shift) & 0xff) as f32;
        let sum = idle * channel(0x69_70_7a) + compute * channel(0x3b_7d_d8) + exposed * channel(0xf2_a5_41);
        (sum.clamp(0.0, 255.0) as u32) << shift
    };
    mix(16) | mix(8) | mix(0)
}
