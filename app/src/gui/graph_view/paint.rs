//! What a node's colour means: the class of its op, its time, what bounds it, or its bytes.

use std::collections::{BTreeMap, BTreeSet};

use egui::{Color32, Ui, Visuals};
use shardlab_engine::cost;
use shardlab_engine::graph::{Op, Segment};
use shardlab_engine::trace::Name;
use shardlab_engine::units::{Bytes, Nanos};

use super::layout::{Node, NodeKind};
use crate::gui::design_tokens::{bound_color, class_color, load_color};
use crate::gui::i18n::{t, t_or_name};
use crate::gui::session::Run;
use crate::gui::widgets::swatch_ui;

/// What colours mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colours {
    /// The class of an op.
    Class,
    /// Its time over that of the longest node.
    Time,
    /// What bounds it.
    Bound,
    /// Its bytes over those of the largest node.
    Bytes,
}

impl Colours {
    pub const ALL: [Self; 4] = [Self::Class, Self::Time, Self::Bound, Self::Bytes];

    pub fn key(self) -> &'static str {
        match self {
            Self::Class => "graph.colours.class",
            Self::Time => "graph.colours.time",
            Self::Bound => "graph.colours.bound",
            Self::Bytes => "graph.colours.bytes",
        }
    }

    pub fn tip(self) -> &'static str {
        match self {
            Self::Class => "graph.colours.class.tip",
            Self::Time => "graph.colours.time.tip",
            Self::Bound => "graph.colours.bound.tip",
            Self::Bytes => "graph.colours.bytes.tip",
        }
    }

    /// What the colours of a segment stand for.
    pub fn legend_ui(self, ui: &mut Ui, segment: &Segment) {
        ui.horizontal_wrapped(|ui| match self {
            Self::Class => {
                let classes: BTreeSet<&str> = segment.ops().map(|op| op.kind.class()).collect();
                for class in classes {
                    swatch_ui(ui, class_color(class), t_or_name("class", class));
                }
            }
            Self::Bound => {
                for bound in ["compute", "memory", "network", "launch"] {
                    swatch_ui(ui, bound_color(bound), t_or_name("bound", bound));
                }
            }
            Self::Time | Self::Bytes => {
                swatch_ui(ui, load_color(0.0, ui.visuals()), t("graph.legend.least"));
                swatch_ui(ui, load_color(0.5, ui.visuals()), t("graph.legend.quarter"));
                swatch_ui(ui, load_color(1.0, ui.visuals()), t("graph.legend.most"));
            }
        });
    }
}

/// What one op costs.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    time: Nanos,
    bytes: u64,
    /// `compute`, `memory`, `launch` or `network`.
    bound: &'static str,
}

/// What the ops of a segment cost, in their order.
#[derive(Debug)]
pub(super) struct Costs {
    ops: Vec<Cost>,
}

/// The most that any node on screen costs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    time: Nanos,
    bytes: u64,
}

impl Costs {
    /// Times are means over the step; what bounds a kernel is what the roofline says.
    pub fn of(run: &Run, stage: usize, segment: usize) -> Self {
        let times = mean_times(run, stage);
        let segment = run.step.stages.get(stage).and_then(|stage| stage.segments.get(segment));
        let cost = |op: &Op| Cost {
            time: times.get(&op.name).copied().unwrap_or_default(),
            bytes: cost::label(&run.step, op).bytes,
            bound: bound(run, op),
        };
        Self { ops: segment.into_iter().flat_map(Segment::ops).map(cost).collect() }
    }

    /// The most that any of some nodes costs.
    pub fn most(&self, nodes: &[Node]) -> Most {
        let sums = nodes.iter().map(|node| self.sum(node));
        sums.fold(Most { time: Nanos::ZERO, bytes: 0 }, |most, (time, bytes)| Most {
            time: most.time.max(time),
            bytes: most.bytes.max(bytes),
        })
    }

    fn sum(&self, node: &Node) -> (Nanos, u64) {
        let of = node.ops.iter().filter_map(|&op| self.ops.get(op));
        of.fold((Nanos::ZERO, 0), |(time, bytes), cost| (time + cost.time, bytes + cost.bytes))
    }

    /// What bounds most of a node's time.
    fn bound(&self, node: &Node) -> &'static str {
        let mut times: Vec<(&'static str, Nanos)> = Vec::new();
        for cost in node.ops.iter().filter_map(|&op| self.ops.get(op)) {
            match times.iter_mut().find(|(bound, _)| *bound == cost.bound) {
                Some((_, time)) => *time += cost.time,
                None => times.push((cost.bound, cost.time)),
            }
        }
        times.into_iter().max_by_key(|(_, time)| *time).map_or("launch", |(bound, _)| bound)
    }

    /// The colour of a node.
    pub fn color(
        &self,
        (colours, most): (Colours, Most),
        node: &Node,
        segment: &Segment,
        visuals: &Visuals,
    ) -> Color32 {
        let (time, bytes) = self.sum(node);
        let share = |part: f64, most: f64| load_color((part / most.max(1.0)).sqrt(), visuals);
        match colours {
            Colours::Class => match node.kind {
                NodeKind::Op(op) => segment.ops().nth(op).map_or(Color32::GRAY, |op| class_color(op.kind.class())),
                NodeKind::Layer(_) => visuals.widgets.active.bg_fill,
            },
            Colours::Time => share(time.0 as f64, most.time.0 as f64),
            Colours::Bound => bound_color(self.bound(node)),
            Colours::Bytes => share(bytes as f64, most.bytes as f64),
        }
    }

    /// What is said of a node that is pointed at.
    pub fn text(&self, node: &Node, segment: &Segment) -> String {
        let (time, bytes) = self.sum(node);
        let what = match node.kind {
            NodeKind::Op(op) => segment.ops().nth(op).map_or_else(String::new, |op| {
                format!("{}  {}", t_or_name("class", op.kind.class()), t_or_name("part", op.phase.name()))
            }),
            NodeKind::Layer(_) => t("graph.layer.tip").to_owned(),
        };
        let bound = t_or_name("bound", self.bound(node));
        format!("{}\n{what}\n{time} · {} · {bound}", node.name, Bytes(bytes))
    }
}

/// The mean time of every op of a stage, by name.
fn mean_times(run: &Run, stage: usize) -> BTreeMap<Name, Nanos> {
    let mut sums: BTreeMap<u32, (i64, i64)> = BTreeMap::new();
    for span in &run.trace.spans {
        if run.trace.track(span).stage as usize == stage {
            let sum = sums.entry(span.label.0).or_default();
            *sum = (sum.0 + span.duration.0, sum.1 + 1);
        }
    }
    let named = sums
        .into_iter()
        .map(|(label, (time, count))| (run.trace.labels[label as usize].name.clone(), Nanos(time / count.max(1))));
    named.collect()
}

fn bound(run: &Run, op: &Op) -> &'static str {
    if op.kind.stream().is_communication() {
        return "network";
    }
    let device = &run.scenario.cluster().device;
    let work = cost::work_on(device, &run.step.dims, &run.step.tensors, op);
    cost::kernel_bound(device, &work, cost::input_type(&run.step, op)).name()
}
