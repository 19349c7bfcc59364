//! Kernels of a step under the roofs of its device: what bounds each, and how far below its roof it stays.

use std::sync::Arc;

use egui::{Align2, Color32, Grid, RichText, Ui, vec2};
use egui_plot::{GridMark, Line, Plot, PlotPoint, PlotPoints, Points, Text};
use shardlab_engine::analysis::{Roofs, StepKernel, StepRoofline, step_roofline};
use shardlab_engine::exec::BenchReport;
use shardlab_engine::report;
use shardlab_engine::units::{Bytes, BytesPerSec, Flops, FlopsPerSec, Nanos};

use super::change::right_change_ui;
use super::design_tokens::{bound_color, capacity_stroke, class_color};
use super::found_once::{FoundOnce, Same};
use super::i18n::{t, t_or_name, t_with};
use super::session::{Run, Session};
use super::widgets::{end_row_ui, even_grid, heading_ui, origin_ui, right_head_ui, right_ui, swatch_ui};

/// Height of the picture.
const HEIGHT: f32 = 300.0;
/// Width of a name in the table.
const NAME: f32 = 190.0;
/// Kernels that the table shows; files have all of them.
const SHOWN: usize = 60;

/// A kernel in the picture.
#[derive(Clone, Debug)]
pub struct Dot {
    /// What stands beside it when it is pointed at.
    pub name: String,
    /// Operations per byte.
    pub intensity: f64,
    /// Operations per second.
    pub achieved: f64,
    /// Its colour.
    pub color: Color32,
    /// How large it is, in points.
    pub radius: f32,
}

/// Draws kernels under roofs: level ones, and the slope that memory gives all of them. Both axes are powers of ten, so a roof
/// is two straight lines.
pub fn picture_ui(ui: &mut Ui, id: &str, peaks: &[(String, f64)], bandwidth: f64, dots: &[Dot]) {
    let power = |mark: GridMark| {
        format!("{:.3}", 10_f64.powf(mark.value)).trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    let plot = Plot::new(id.to_owned())
        .height(HEIGHT)
        .allow_scroll(false)
        .x_axis_label(t("bench.intensity"))
        .y_axis_label(t("bench.achieved"));
    let plot = even_grid(plot, ui.visuals())
        .x_axis_formatter(move |mark, _| power(mark))
        .y_axis_formatter(|mark, _| FlopsPerSec(10_f64.powf(mark.value)).to_string());
    let stroke = capacity_stroke(ui.visuals());
    plot.show(ui, |plot| {
        for (name, peak) in peaks.iter().filter(|(_, peak)| *peak > 0.0 && bandwidth > 0.0) {
            let corners = roof(*peak, bandwidth, dots);
            let end = corners.last().copied().unwrap_or_default();
            plot.line(Line::new(name.clone(), PlotPoints::from(corners)).color(stroke.color).width(2.0));
            let at = PlotPoint::new(end[0], end[1]);
            plot.text(Text::new(name.clone(), at, name.as_str()).anchor(Align2::RIGHT_BOTTOM).color(stroke.color));
        }
        for dot in dots {
            let at = vec![[dot.intensity.log10(), dot.achieved.log10()]];
            plot.points(Points::new(dot.name.clone(), PlotPoints::from(at)).color(dot.color).radius(dot.radius));
        }
    });
}

/// From left of all kernels up to the ridge, and on to right of all.
fn roof(peak: f64, bandwidth: f64, dots: &[Dot]) -> Vec<[f64; 2]> {
    let ridge = (peak / bandwidth).log10();
    let all = || dots.iter().map(|dot| dot.intensity.log10());
    let first = all().fold(ridge, f64::min) - 0.3;
    let last = all().fold(ridge, f64::max) + 0.3;
    vec![[first, first + bandwidth.log10()], [ridge, peak.log10()], [last, peak.log10()]]
}

/// Of what a roofline was found: a run, a stage, and the peak and the bandwidth that were measured.
type Key = (Same<Run>, u32, Option<[u64; 2]>);

/// The state of the view.
#[derive(Debug, Default)]
pub struct RooflineView {
    /// The stage that was chosen; the one that the step waits for when none.
    stage: Option<u32>,
    found: FoundOnce<Key, StepRoofline>,
    /// The same stage of the baseline.
    base: FoundOnce<Key, StepRoofline>,
}

impl RooflineView {
    /// What tests read.
    pub fn state(&self) -> serde_json::Value {
        let found = self.found.last();
        serde_json::json!({
            "kernels": found.map(|found| found.kernels.len()),
            "roofs": found.and_then(|found| Some(found.roofs.as_ref()?.peaks.len())),
        })
    }

    /// Draws the view; `bench` is what was measured of this device.
    pub fn ui(&mut self, ui: &mut Ui, session: &mut Session, bench: Option<&BenchReport>) {
        let run = session.shown().clone();
        // Roofs of another device would say nothing.
        let bench = bench.filter(|report| session.executed_on.as_ref() == Some(&report.backend.name));
        let stage = self.stage(&run);
        let base = session.baseline().cloned();
        egui::ScrollArea::both().auto_shrink(false).show(ui, |ui| {
            ui.horizontal(|ui| {
                heading_ui(ui, t("roofline.title"));
                origin_ui(ui, run.trace.origin);
            });
            ui.weak(t("roofline.about"));
            self.stages_ui(ui, &run, stage);
            let found = kernels_of(&mut self.found, &run, stage, bench);
            if found.roofs.is_none() {
                ui.label(t("roofline.no_roofs"));
            }
            let base = base.as_ref().filter(|base| (stage as usize) < base.step.stages.len());
            let before = base.map(|base| kernels_of(&mut self.base, base, stage, None));
            kernels_ui(ui, found, before);
            ui.horizontal(|ui| {
                let name = run.scenario.name();
                if ui.button(t("roofline.save_csv")).clicked() {
                    session.save(format!("{name}.roofline.csv"), report::roofline_csv(found));
                }
                if ui.button(t("roofline.save_json")).clicked() {
                    session.save(format!("{name}.roofline.json"), report::roofline_json(name, found));
                }
            });
        });
    }

    fn stage(&mut self, run: &Run) -> u32 {
        let stages = run.step.stages.len();
        self.stage = self.stage.filter(|stage| (*stage as usize) < stages);
        self.stage.unwrap_or(run.report.critical_stage)
    }

    fn stages_ui(&mut self, ui: &mut Ui, run: &Run, stage: u32) {
        let stages = run.step.stages.len();
        if stages < 2 {
            return;
        }
        ui.horizontal(|ui| {
            let mut chosen = stage;
            let label = ui.label(t("roofline.stage"));
            let last = u32::try_from(stages - 1).unwrap_or(u32::MAX);
            let field = ui.add(egui::DragValue::new(&mut chosen).range(0..=last)).labelled_by(label.id);
            if field.on_hover_text(t("roofline.stage.tip")).changed() {
                self.stage = Some(chosen);
            }
        });
    }
}

/// The kernels of a run, found once for each stage and measurement.
fn kernels_of<'a>(
    known: &'a mut FoundOnce<Key, StepRoofline>,
    run: &Arc<Run>,
    stage: u32,
    bench: Option<&BenchReport>,
) -> &'a StepRoofline {
    let measured_by = bench.map(|report| [report.fp32_peak(), report.memory_bandwidth()].map(f64::to_bits));
    let key = (Same(Arc::clone(run)), stage, measured_by);
    known.get(key, || step_roofline(&run.step, &run.scenario, &run.trace, stage, bench.map(measured)))
}

/// The roofs of a device that was measured here.
fn measured(bench: &BenchReport) -> Roofs {
    Roofs {
        peaks: vec![("measured", FlopsPerSec(bench.fp32_peak()))],
        bandwidth: BytesPerSec(bench.memory_bandwidth()),
    }
}

fn kernels_ui(ui: &mut Ui, found: &StepRoofline, base: Option<&StepRoofline>) {
    let (mut peaks, mut bandwidth) = (Vec::new(), 0.0);
    if let Some(roofs) = &found.roofs {
        let named = |(name, peak): &(&'static str, FlopsPerSec)| {
            (format!("{} · {peak}", t_or_name("roofline.roof", name)), peak.0)
        };
        peaks.extend(roofs.peaks.iter().map(named));
        bandwidth = roofs.bandwidth.0;
        let texts: Vec<&str> = peaks.iter().map(|(name, _)| name.as_str()).collect();
        ui.weak(format!("{} · {} {}", texts.join(" · "), t("roofline.memory"), roofs.bandwidth));
    }
    let longest = found.kernels.iter().map(|kernel| kernel.time.secs()).fold(0.0, f64::max).max(1e-12);
    let dots: Vec<Dot> =
        found.kernels.iter().filter(|kernel| kernel.flops > 0).map(|kernel| dot(kernel, longest)).collect();
    picture_ui(ui, "step roofline", &peaks, bandwidth, &dots);
    classes_ui(ui, found);
    table_ui(ui, found, base);
}

/// A kernel as large as the root of its time, so that areas are times.
fn dot(kernel: &StepKernel, longest: f64) -> Dot {
    let share = (kernel.time.secs() / longest).sqrt() as f32;
    Dot {
        name: described(kernel),
        intensity: kernel.intensity(),
        achieved: kernel.achieved().0,
        color: class_color(kernel.class).gamma_multiply(0.8),
        radius: 2.5 + 7.5 * share,
    }
}

fn described(kernel: &StepKernel) -> String {
    let phase = t_or_name("part", kernel.phase.name());
    let share = kernel.share().map_or_else(String::new, |share| format!(" · {:.0} %", share * 100.0));
    let bound = kernel.bound.map_or_else(String::new, |bound| format!(" · {}", t_or_name("bound", bound)));
    format!("{} · {phase} · {}{share}{bound}", kernel.name, kernel.time)
}

/// The classes that are in the picture, each once.
fn classes_ui(ui: &mut Ui, found: &StepRoofline) {
    let mut classes: Vec<&'static str> = Vec::new();
    for kernel in found.kernels.iter().filter(|kernel| kernel.flops > 0) {
        if !classes.contains(&kernel.class) {
            classes.push(kernel.class);
        }
    }
    ui.horizontal_wrapped(|ui| {
        classes.iter().for_each(|class| swatch_ui(ui, class_color(class), t_or_name("class", class)));
    });
}

fn table_ui(ui: &mut Ui, found: &StepRoofline, base: Option<&StepRoofline>) {
    Grid::new("step kernels").striped(true).num_columns(8 + usize::from(base.is_some())).spacing([12.0, 3.0]).show(
        ui,
        |ui| {
            ui.weak(t("roofline.kernel"));
            ui.weak(t("roofline.phase"));
            right_head_ui(ui, t_or_name("roofline.column", "time"));
            base.is_some().then(|| right_head_ui(ui, t("roofline.change")));
            for key in ["intensity", "achieved", "share"] {
                right_head_ui(ui, t_or_name("roofline.column", key));
            }
            ui.weak(t("roofline.bound"));
            end_row_ui(ui);
            for kernel in found.kernels.iter().take(SHOWN) {
                row_ui(ui, kernel, base);
            }
        },
    );
    let left = found.kernels.len().saturating_sub(SHOWN);
    if left > 0 {
        ui.weak(t_with("traces.more", left));
    }
}

/// A number with three digits that count.
fn three_digits(number: f64) -> String {
    match number {
        100.0.. => format!("{number:.0}"),
        10.0.. => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

fn row_ui(ui: &mut Ui, kernel: &StepKernel, base: Option<&StepRoofline>) {
    let name = ui.horizontal(|ui| {
        swatch_ui(ui, class_color(kernel.class), "");
        let left = egui::Layout::left_to_right(egui::Align::Center);
        ui.allocate_ui_with_layout(vec2(NAME, 16.0), left, |ui| {
            ui.set_min_width(NAME);
            ui.add(egui::Label::new(&kernel.name).truncate());
        });
    });
    name.response.on_hover_text(format!("{} · {}", kernel.name, t_with("roofline.runs", kernel.count)));
    ui.label(t_or_name("part", kernel.phase.name()));
    right_ui(ui, &kernel.time.to_string());
    if let Some(base) = base {
        let is_it = |before: &&StepKernel| (&before.name, before.phase) == (&kernel.name, kernel.phase);
        let before = base.kernels.iter().find(is_it).map_or(Nanos::ZERO, |before| before.time);
        right_change_ui(ui, kernel.time, before);
    }
    right_ui(ui, &three_digits(kernel.intensity()));
    // What moves data alone has no operations to count.
    let known = |text: String| if kernel.flops > 0 { text } else { "–".to_owned() };
    let (flops, bytes, time) = (Flops(kernel.flops as f64), Bytes(kernel.bytes), kernel.time);
    let bandwidth = BytesPerSec(kernel.bytes as f64 / time.secs().max(1e-12));
    let formula = format!("{flops} ÷ {time} = {}\n{bytes} ÷ {time} = {bandwidth}", kernel.achieved());
    ui.scope(|ui| right_ui(ui, &known(kernel.achieved().to_string()))).response.on_hover_text(formula);
    let share = kernel.share().map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", share * 100.0));
    let attainable = kernel.attainable.map_or_else(String::new, |rate| t_with("roofline.attainable", rate));
    ui.scope(|ui| right_ui(ui, &known(share))).response.on_hover_text(attainable);
    match kernel.bound {
        Some(bound) => ui.label(RichText::new(t_or_name("roofline.bound", bound)).color(bound_color(bound))),
        None => ui.weak("–"),
    };
    end_row_ui(ui);
}
