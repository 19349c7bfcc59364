//! The right panel: the figures of the step, or of the slice or the op that is selected.

use egui::{Grid, RichText, Ui};
use shardlab_engine::analysis::{Breakdown, OpClassTime, breakdowns, op_classes, window};
use shardlab_engine::cost;
use shardlab_engine::graph::{Op, Placement, StepGraph, TensorId};
use shardlab_engine::trace::{Origin, Span, Trace};
use shardlab_engine::units::{Bytes, Nanos};

use super::design_tokens::{class_color, part_color, signals};
use super::i18n::{t, t_or_name, t_with};
use super::session::Run;
use super::widgets::{figure_ui, grouped, heading_ui, origin_ui, right_ui, stacked_bar_ui, swatch_ui};

/// What the right panel shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// The step as a whole.
    #[default]
    Summary,
    /// A span, by its index in the trace.
    Span(u32),
    /// An op of the step graph.
    Op {
        /// Index of the stage.
        stage: usize,
        /// Index of the segment in the stage.
        segment: usize,
        /// Index of the op in the segment.
        op: usize,
    },
}

/// Draws the panel.
///
/// Where a part of the time is chosen, `part` is what happens in it: then all figures are of it.
pub fn ui(ui: &mut Ui, run: &Run, part: Option<&Part>, selection: &mut Selection) {
    egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        if *selection != Selection::Summary && ui.button(t("inspector.back")).clicked() {
            *selection = Selection::Summary;
        }
        match *selection {
            Selection::Summary => match part {
                Some(part) => part_ui(ui, run, part),
                None => summary_ui(ui, run),
            },
            Selection::Span(index) => match run.trace.spans.get(index as usize) {
                Some(span) => span_ui(ui, run, span),
                None => *selection = Selection::Summary,
            },
            Selection::Op { stage, segment, op } => {
                let segment = run.step.stages.get(stage).and_then(|stage| stage.segments.get(segment));
                match segment.and_then(|segment| segment.ops().nth(op)) {
                    Some(op) => op_ui(ui, run, op, stage),
                    None => *selection = Selection::Summary,
                }
            }
        }
    });
}

fn summary_ui(ui: &mut Ui, run: &Run) {
    let report = &run.report;
    ui.horizontal(|ui| {
        heading_ui(ui, t("inspector.summary"));
        origin_ui(ui, report.origin);
    });
    ui.label(RichText::new(report.step_time.to_string()).heading().strong())
        .on_hover_text(t("inspector.step_time.tip"));
    if let Some([low, high]) = report.interval {
        ui.weak(format!("{low} – {high}")).on_hover_text(t("inspector.interval.tip"));
    }
    // Ranks that share a device say nothing about the utilisation of a cluster.
    let modelled = report.origin == Origin::Modelled;
    let percent = |share: f64| if modelled { format!("{:.1} %", share * 100.0) } else { "—".to_owned() };
    let parameters = shardlab_engine::model::ParameterCount::of(run.scenario.model());
    let mesh = run.scenario.mesh();
    if report.mean_step_time != report.step_time {
        figure_ui(ui, "inspector.mean", &report.mean_step_time.to_string());
    }
    if run.scenario.model().has_sequences() {
        figure_ui(ui, "inspector.tokens", &grouped(report.tokens_per_s));
    } else {
        figure_ui(ui, "inspector.samples", &grouped(report.samples_per_s));
    }
    figure_ui(ui, "inspector.mfu", &percent(report.mfu));
    figure_ui(ui, "inspector.hfu", &percent(report.hfu));
    figure_ui(ui, "inspector.bubble", &percent(report.bubble_fraction));
    figure_ui(ui, "inspector.parameters", &count(parameters.total()));
    if parameters.inactive > 0 {
        figure_ui(ui, "inspector.active", &count(parameters.active()));
    }
    figure_ui(ui, "inspector.ranks", &format!("{} = {mesh}", mesh.ranks()));
    figure_ui(ui, "inspector.micro_batches", &run.scenario.micro_batches().to_string());
    fit_ui(ui, run);
    breakdown_ui(ui, run);
    exposed_ui(ui, run);
    classes_of_ui(ui, run.classes(), run.report.critical_stage);
    if modelled {
        let header = egui::CollapsingHeader::new(t("inspector.critical")).id_salt("critical");
        header.show(ui, |ui| critical_ui(ui, run)).header_response.on_hover_text(t("inspector.critical.tip"));
    }
}

/// A part of the time that was chosen, with its figures.
#[derive(Debug)]
pub struct Part {
    from: Nanos,
    trace: Trace,
    /// The stage whose figures these are: the one that the step waits for.
    stage: u32,
    parts: Breakdown,
    classes: Vec<OpClassTime>,
    peak: Option<Bytes>,
}

impl Part {
    /// A part of a run.
    pub fn new(run: &Run, from: Nanos, until: Nanos) -> Self {
        let (trace, stage) = (window(&run.trace, from, until), run.report.critical_stage);
        let group = trace.tracks.iter().find(|track| track.stage == stage).map_or(0, |track| track.group);
        let parts = breakdowns(&trace).get(&group).copied().unwrap_or_default();
        let samples = trace.memory.iter().filter(|curve| curve.group == group).flat_map(|curve| &curve.samples);
        let peak = samples.map(|sample| sample.used.total()).max();
        Self { from, stage, parts, classes: op_classes(&trace, group), peak, trace }
    }
}

/// The figures of a part of the time.
fn part_ui(ui: &mut Ui, run: &Run, part: &Part) {
    ui.horizontal(|ui| {
        heading_ui(ui, t("inspector.part"));
        origin_ui(ui, part.trace.origin);
    });
    let length = part.trace.step_time;
    ui.label(RichText::new(length.to_string()).heading().strong());
    ui.weak(format!("{} – {}", part.from, part.from + length));
    breakdown_of_ui(ui, &part.parts, length);
    ui.weak(format!("{} {}", t("inspector.busiest_stage"), part.stage));
    exposed_of_ui(ui, run, &part.parts);
    if let Some(peak) = part.peak {
        heading_ui(ui, t("inspector.memory"));
        figure_ui(ui, "memory.peak", &peak.to_string());
    }
    classes_of_ui(ui, &part.classes, part.stage);
}

/// Lines of the critical path that are shown.
const CRITICAL_LINES: usize = 12;

/// What the critical path consists of, by class of op and stage, and the least that others of a class have to spare.
fn critical_ui(ui: &mut Ui, run: &Run) {
    Grid::new("critical").num_columns(3).show(ui, |ui| {
        ui.label("");
        for key in ["inspector.critical.time", "inspector.critical.slack"] {
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| ui.weak(t(key)));
        }
        ui.end_row();
        for line in run.critical_path().iter().take(CRITICAL_LINES) {
            let name = format!("{} · {}", t_or_name("class", line.class), t_with("graph.stage", line.stage));
            ui.horizontal(|ui| swatch_ui(ui, class_color(line.class), &name));
            right_ui(ui, &line.critical.to_string());
            right_ui(ui, &line.least.map_or_else(|| "—".to_owned(), |least| least.to_string()));
            ui.end_row();
        }
    });
}

/// Whether the step fits; where it does not, which block is the biggest.
fn fit_ui(ui: &mut Ui, run: &Run) {
    heading_ui(ui, t("inspector.memory"));
    fit_badge_ui(ui, run);
}

/// One line: it fits, or by how much it does not and what the biggest block is.
pub fn fit_badge_ui(ui: &mut Ui, run: &Run) {
    let (fit, colors) = (&run.report.fit, signals(ui.visuals()));
    let (color, verdict) =
        if fit.fits { (colors.good, "inspector.fits") } else { (colors.bad, "inspector.does_not_fit") };
    ui.horizontal_wrapped(|ui| {
        ui.colored_label(color, RichText::new(t(verdict)).strong()).on_hover_text(t("inspector.fits.tip"));
        ui.label(format!("{} / {}", fit.needed, fit.capacity));
        ui.weak(format!("{} {}", t("timeline.stage"), fit.stage));
    });
    if fit.beside.total().0 > 0 {
        ui.weak(t_with("inspector.beside", fit.beside.total())).on_hover_text(beside_tip(run));
    }
    if run.report.outside.0 > 0 {
        ui.label(format!("{} {}", run.report.outside, t("inspector.outside")))
            .on_hover_text(t("inspector.outside.tip"));
    }
    if !fit.fits {
        let biggest = t_or_name("memory", fit.biggest.name());
        ui.colored_label(color, format!("{}: {biggest}, {}", t("inspector.biggest"), fit.biggest_bytes));
    }
}

fn beside_tip(run: &Run) -> String {
    let beside = run.report.fit.beside;
    let marks = [("{context}", beside.context), ("{communicators}", beside.communicators)];
    marks
        .into_iter()
        .fold(t("inspector.beside.tip").to_owned(), |text, (mark, bytes)| text.replace(mark, &bytes.to_string()))
}

fn breakdown_ui(ui: &mut Ui, run: &Run) {
    breakdown_of_ui(ui, &run.report.breakdown, run.report.step_time);
    ui.weak(format!("{} {}", t("inspector.busiest_stage"), run.report.critical_stage));
}

/// The parts of some time, as a bar and as a table.
fn breakdown_of_ui(ui: &mut Ui, breakdown: &Breakdown, length: Nanos) {
    heading_ui(ui, t("inspector.breakdown"));
    let parts = breakdown.parts();
    let bars: Vec<_> =
        parts.iter().map(|(name, time)| (t_or_name("part", name).to_owned(), time.secs(), part_color(name))).collect();
    stacked_bar_ui(ui, &bars);
    Grid::new("breakdown").num_columns(3).show(ui, |ui| {
        for (name, time) in parts.into_iter().filter(|(_, time)| time.0 > 0) {
            ui.horizontal(|ui| swatch_ui(ui, part_color(name), t_or_name("part", name)));
            right_ui(ui, &time.to_string());
            right_ui(ui, &format!("{:.1} %", time.secs() / length.secs().max(1e-12) * 100.0));
            ui.end_row();
        }
        ui.label(t("inspector.sum"));
        right_ui(ui, &breakdown.total().to_string());
        ui.end_row();
    });
}

fn exposed_ui(ui: &mut Ui, run: &Run) {
    exposed_of_ui(ui, run, &run.report.breakdown);
}

fn exposed_of_ui(ui: &mut Ui, run: &Run, parts: &Breakdown) {
    heading_ui(ui, t("inspector.exposed"));
    let mesh = run.scenario.mesh();
    for (axis, time) in shardlab_engine::analysis::exposed_communication(parts) {
        if (axis, mesh.cp) == ("cp", 1) || (axis, mesh.ep) == ("ep", 1) {
            continue;
        }
        ui.horizontal(|ui| {
            ui.label(t_or_name("axis", axis));
            right_ui(ui, &time.to_string());
        });
    }
}

fn classes_of_ui(ui: &mut Ui, classes: &[OpClassTime], stage: u32) {
    heading_ui(ui, t("inspector.classes"));
    Grid::new("classes").num_columns(3).show(ui, |ui| {
        ui.weak(t_with("graph.stage", stage));
        for key in ["inspector.count", "inspector.busy"] {
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| ui.weak(t(key)));
        }
        ui.end_row();
        for class in classes {
            ui.horizontal(|ui| swatch_ui(ui, class_color(class.class), t_or_name("class", class.class)));
            right_ui(ui, &grouped(class.count as f64));
            right_ui(ui, &class.time.to_string());
            ui.end_row();
        }
    });
}

/// A large number: in millions or billions, or to the last digit where it is small.
fn count(number: u64) -> String {
    match number {
        0..1_000_000 => number.to_string(),
        1_000_000..1_000_000_000 => t_with("number.millions", format!("{:.1}", number as f64 / 1e6)),
        _ => t_with("number.billions", format!("{:.3}", number as f64 / 1e9)),
    }
}

fn span_ui(ui: &mut Ui, run: &Run, span: &Span) {
    let (label, track) = (run.trace.label(span), run.trace.track(span));
    title_ui(ui, &label.name, label.class, run.trace.origin);
    let secs = span.duration.secs().max(1e-12);
    ui.group(|ui| {
        figure_ui(ui, "inspector.phase", t_or_name("part", label.phase.name()));
        figure_ui(ui, "inspector.stream", t_or_name("stream", track.stream.name()));
        figure_ui(ui, "inspector.stage", &format!("{} (×{})", track.stage, track.ranks));
        if span.micro_batch != Span::NO_MICRO_BATCH {
            figure_ui(ui, "inspector.micro_batch", &span.micro_batch.to_string());
        }
        figure_ui(ui, "inspector.start", &format!("{} µs", grouped(span.start.secs() * 1e6)));
        figure_ui(ui, "inspector.duration", &span.duration.to_string());
        figure_ui(ui, "inspector.bytes", &Bytes(label.bytes).to_string());
        figure_ui(ui, "inspector.bandwidth", &format!("{:.1} GB/s", label.bytes as f64 / secs / 1e9));
        if label.flops > 0 {
            figure_ui(ui, "inspector.flops", &shardlab_engine::units::Flops(label.flops as f64).to_string());
            figure_ui(ui, "inspector.rate", &format!("{:.2} TFLOP/s", label.flops as f64 / secs / 1e12));
        }
    });
}

fn op_ui(ui: &mut Ui, run: &Run, op: &Op, stage: usize) {
    title_ui(ui, &op.name, op.kind.class(), Origin::Modelled);
    let step = &run.step;
    ui.group(|ui| {
        figure_ui(ui, "inspector.phase", t_or_name("part", op.phase.name()));
        figure_ui(ui, "inspector.stream", t_or_name("stream", op.kind.stream().name()));
        figure_ui(ui, "inspector.stage", &stage.to_string());
        let label = cost::label(step, op);
        figure_ui(ui, "inspector.bytes", &Bytes(label.bytes).to_string());
        if op.kind.stream().is_communication() {
            return;
        }
        let device = &run.scenario.cluster().device;
        let work = cost::work_on(device, &step.dims, &step.tensors, op);
        let input = cost::input_type(step, op);
        figure_ui(ui, "inspector.flops", &work.flops.to_string());
        figure_ui(ui, "inspector.intensity", &format!("{:.1} FLOP/B", work.flops.0 / work.bytes.as_f64().max(1.0)));
        figure_ui(ui, "inspector.duration", &cost::kernel_time(device, &work, input).to_string());
        let bound = match cost::kernel_bound(device, &work, input) {
            cost::Bound::Compute => "bound.compute",
            cost::Bound::Memory => "bound.memory",
            cost::Bound::Launch => "bound.launch",
        };
        figure_ui(ui, "inspector.bound", t(bound));
    });
    tensors_ui(ui, step, t("inspector.reads"), &op.reads);
    tensors_ui(ui, step, t("inspector.writes"), &op.writes);
}

fn title_ui(ui: &mut Ui, name: &str, class: &'static str, origin: Origin) {
    ui.strong(name);
    ui.horizontal(|ui| {
        swatch_ui(ui, class_color(class), t_or_name("class", class));
        origin_ui(ui, origin);
    });
}

/// Shapes on one rank and over the tensor group, number format and placement.
fn tensors_ui(ui: &mut Ui, step: &StepGraph, title: &str, ids: &[TensorId]) {
    heading_ui(ui, title);
    for &id in ids {
        let tensor = step.tensor(id);
        let (local, whole) = (tensor.local, tensor.shape);
        ui.label(&*tensor.name);
        let placement = match tensor.placement {
            Placement::Replicate => t("placement.replicate").to_owned(),
            Placement::Shard(dim) => format!("{} {dim:?}", t("placement.shard")),
            Placement::Partial(reduction) => format!("{} {reduction:?}", t("placement.partial")),
        };
        let shape = format!("  {}×{} / {}×{} {:?}", local.rows, local.cols, whole.rows, whole.cols, tensor.dtype);
        ui.horizontal_wrapped(|ui| {
            ui.monospace(shape).on_hover_text(t("inspector.shape.tip"));
            ui.weak(placement);
            ui.weak(tensor.bytes().to_string());
        });
    }
}
