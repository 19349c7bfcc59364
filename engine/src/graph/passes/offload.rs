//! Seventh pass: activations of some layers wait for their backward pass in the host's memory (Rhu et al. 2016, "vDNN";
//! Megatron-Core's `cpu_offloading_num_layers`).
//!
//! What only a layer's backward pass reads is copied to the host behind its last use in the forward, and back while the
//! backward pass of the layer behind it runs.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use crate::graph::{Op, OpGraph, OpKind, Part, Role, Storage, Tensor, TensorId};
use crate::scenario::{Place, Strategy};
use crate::trace::Phase;

/// What is smaller than the largest value of its layer by this factor is no copy worth: statistics of rows.
const WORTH: u64 = 16;

/// Offloads the first layers of every virtual stage.
pub fn offload(mut graph: OpGraph, strategy: &Strategy) -> OpGraph {
    let layers = offloaded(strategy);
    if layers.is_empty() {
        return graph;
    }
    let uses = Uses::of(&graph);
    let mut plan = Plan::default();
    for (&part, values) in &uses.worth_copying(&graph, &layers) {
        let Some(trigger) = uses.trigger(part, &layers) else { continue };
        for &value in values {
            copy(&mut graph, &mut plan, value, part, trigger, &uses);
        }
    }
    apply(&mut graph, &plan);
    graph
}

/// The layers whose activations wait in the host's memory, each with its virtual stage.
type Layers = BTreeMap<u32, u32>;

fn offloaded(strategy: &Strategy) -> Layers {
    let mut first = 0;
    let mut layers = Layers::new();
    for (depth, &count) in (0..).zip(&strategy.stage_layers) {
        layers.extend((first..first + count.min(strategy.offload_activations)).map(|layer| (layer, depth)));
        first += count;
    }
    layers
}

fn is_backward(op: &Op) -> bool {
    matches!(op.phase, Phase::Recompute | Phase::Backward | Phase::WeightGradient)
}

/// Where values are used.
struct Uses {
    /// The index of the last op of the forward pass that mentions each value or a view of it.
    last_forward: FxHashMap<TensorId, usize>,
    /// The parts whose backward passes read each.
    readers: FxHashMap<TensorId, BTreeSet<Part>>,
    /// The first op of the backward pass of every part, with the gradient that reaches it.
    first_backward: BTreeMap<Part, Trigger>,
}

/// When copies start to come back: with an op, and not before a gradient is there. A value of the forward pass would do as
/// well, but it would stay on the device for that.
#[derive(Clone, Copy)]
struct Trigger {
    op: usize,
    gradient: Option<TensorId>,
}

/// The tensor that owns the bytes of `id`.
fn root(graph: &OpGraph, id: TensorId) -> TensorId {
    match graph.tensor(id).storage {
        Storage::View { of, .. } => root(graph, of),
        _ => id,
    }
}

impl Uses {
    fn of(graph: &OpGraph) -> Self {
        let mut uses =
            Self { last_forward: FxHashMap::default(), readers: FxHashMap::default(), first_backward: BTreeMap::new() };
        let mut written: FxHashMap<TensorId, usize> = FxHashMap::default();
        for (index, op) in graph.ops.iter().enumerate() {
            if is_backward(op) {
                let trigger = uses.first_backward.entry(op.part).or_insert(Trigger { op: index, gradient: None });
                let arrived = |id: &&TensorId| written.get(*id).is_some_and(|&at| at < trigger.op);
                trigger.gradient = trigger.gradient.or_else(|| op.reads.iter().find(arrived).copied());
                written.extend(op.writes.iter().map(|&id| (id, index)));
                for &id in &op.reads {
                    uses.readers.entry(root(graph, id)).or_default().insert(op.part);
                }
            } else if op.phase == Phase::Forward {
                uses.last_forward.extend(op.reads.iter().chain(&op.writes).map(|&id| (root(graph, id), index)));
            }
        }
        uses
    }

    /// Values of the forward pass that the backward pass of one layer alone reads, if it is among `layers`.
    fn worth_copying(&self, graph: &OpGraph, layers: &Layers) -> BTreeMap<Part, Vec<TensorId>> {
        let mut of_part: BTreeMap<Part, Vec<TensorId>> = BTreeMap::new();
        let mut values: Vec<TensorId> = self.readers.keys().copied().collect();
        values.sort_unstable();
        for id in values {
            let tensor = graph.tensor(id);
            let computed = tensor.role == Role::Activation && tensor.storage == Storage::Own;
            let only = self.readers[&id].iter().next().filter(|_| self.readers[&id].len() == 1);
            let Some(&part @ Part::Layer(layer)) = only else { continue };
            if computed && layers.contains_key(&layer) && self.last_forward.contains_key(&id) {
                of_part.entry(part).or_default().push(id);
            }
        }
        for values in of_part.values_mut() {
            let size = |id: &TensorId| graph.tensor(*id).bytes().0;
            let largest = values.iter().map(size).max().unwrap_or(0);
            values.retain(|id| size(id) * WORTH >= largest);
        }
        of_part
    }

    /// When copies of a layer's values start to come back: with the backward pass of the layer behind it, or with its own
    /// where that layer keeps its values.
    fn trigger(&self, part: Part, layers: &Layers) -> Option<Trigger> {
        let Part::Layer(layer) = part else { return None };
        let behind = layers.get(&(layer + 1)).filter(|&depth| layers.get(&layer) == Some(depth));
        let behind = behind.map(|_| Part::Layer(layer + 1));
        behind.and_then(|behind| self.first_backward.get(&behind)).or_else(|| self.first_backward.get(&part)).copied()
    }
}

/// Ops to put in, and what the backward pass reads instead.
#[derive(Default)]
struct Plan {
    behind: BTreeMap<usize, Vec<Op>>,
    before: BTreeMap<usize, Vec<Op>>,
    instead: FxHashMap<TensorId, TensorId>,
}

fn copy(graph: &mut OpGraph, plan: &mut Plan, value: TensorId, part: Part, trigger: Trigger, uses: &Uses) {
    let tensor = graph.tensor(value).clone();
    let of = tensor.name.clone();
    let copy = |what: &str, place| Tensor { name: format!("{of} {what}").into(), part, place, ..tensor.clone() };
    let there = graph.add_tensor(copy("on the host", Place::Host));
    let back = graph.add_tensor(copy("back", tensor.place));
    plan.instead.insert(value, back);
    let op = |kind, what: &str, phase, reads: Vec<TensorId>, write| {
        let name = format!("{of} {what}").into();
        Op { kind, name, part, phase, reads, writes: vec![write] }
    };
    let out = op(OpKind::ToHost, "to host", Phase::Forward, vec![value], there);
    plan.behind.entry(uses.last_forward[&value]).or_default().push(out);
    let reads = std::iter::once(there).chain(trigger.gradient).collect();
    let back = op(OpKind::FromHost, "from host", Phase::Backward, reads, back);
    plan.before.entry(trigger.op).or_default().push(back);
}

fn apply(graph: &mut OpGraph, plan: &Plan) {
    let mut views: FxHashMap<TensorId, TensorId> = FxHashMap::default();
    for (index, mut op) in std::mem::take(&mut graph.ops).into_iter().enumerate() {
        if is_backward(&op) {
            op.reads = op.reads.iter().map(|&id| instead(graph, plan, &mut views, id)).collect();
        }
        graph.ops.extend(plan.before.get(&index).into_iter().flatten().cloned());
        graph.ops.push(op);
        graph.ops.extend(plan.behind.get(&index).into_iter().flatten().cloned());
    }
}

/// The copy of a value, or the same view of the copy.
fn instead(graph: &mut OpGraph, plan: &Plan, views: &mut FxHashMap<TensorId, TensorId>, id: TensorId) -> TensorId {
    if let Some(&copy) = plan.instead.get(&id) {
        return copy;
    }
    let Some(&copy) = plan.instead.get(&root(graph, id)) else { return id };
    if let Some(&view) = views.get(&id) {
        return view;
    }
    let tensor = graph.tensor(id).clone();
    let Storage::View { offset, .. } = tensor.storage else { return copy };
    let view = graph.add_tensor(Tensor { storage: Storage::View { of: copy, offset }, ..tensor });
    views.insert(id, view);
    view
}
