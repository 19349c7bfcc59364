//! The right panel: the figures of the step, or of the slice or the op that is selected.
//!
//! * `summary` has the figures of a step, and of a part of its time.

mod summary;

use egui::Ui;
use shardlab_engine::cost;
use shardlab_engine::graph::{Op, Placement, StepGraph, TensorId};
use shardlab_engine::trace::{Origin, Span};
use shardlab_engine::units::Bytes;

use super::design_tokens::class_color;
use super::i18n::{t, t_or_name};
use super::session::Run;
use super::widgets::{figure_ui, grouped, heading_ui, origin_ui, swatch_ui};
pub use summary::{Part, fit_badge_ui};
use summary::{part_ui, summary_ui};

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
/// Where a part of the time is chosen, `part` is what happens in it: then all figures are of it. `base` is the run with which
/// this one is compared.
pub fn ui(ui: &mut Ui, run: &Run, part: Option<&Part>, base: Option<&Run>, selection: &mut Selection) {
    egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        if *selection != Selection::Summary && ui.button(t("inspector.back")).clicked() {
            *selection = Selection::Summary;
        }
        match *selection {
            Selection::Summary => match part {
                Some(part) => part_ui(ui, run, part),
                None => summary_ui(ui, run, base),
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
        let bound = cost::kernel_bound(device, &work, input).name();
        figure_ui(ui, "inspector.bound", t_or_name("bound", bound));
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
