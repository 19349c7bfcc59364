//! Values that wait for their backward pass in another form: on the host, or in fewer bits.
//!
//! `offload` and `compress` are both of this kind: behind the last op of the forward pass that mentions a value they put an op
//! that takes it away, before its backward pass one that brings it back, and the backward pass reads what was brought.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use crate::graph::{Op, OpGraph, Part, Role, Storage, Tensor, TensorId};
use crate::scenario::Place;
use crate::trace::Phase;

/// What is smaller than the largest value of its layer by this factor is not worth it: statistics of rows.
const WORTH: u64 = 16;

/// Whether an op belongs to the backward pass.
pub fn is_backward(op: &Op) -> bool {
    matches!(op.phase, Phase::Recompute | Phase::Backward | Phase::WeightGradient)
}

/// Where values are used.
pub struct Uses {
    /// The index of the last op of the forward pass that mentions each value or a view of it.
    pub last_forward: FxHashMap<TensorId, usize>,
    /// The parts whose backward passes read each.
    readers: FxHashMap<TensorId, BTreeSet<Part>>,
    /// The first op of a backward pass that reads each.
    pub first_reader: FxHashMap<TensorId, usize>,
    /// The first op of the backward pass of every part, with the gradient that reaches it.
    pub first_backward: BTreeMap<Part, Trigger>,
}

/// When copies start to come back: with an op, and not before a gradient is there. A value of the forward pass would do as
/// well, but it would stay on the device for that.
#[derive(Clone, Copy)]
pub struct Trigger {
    /// The op.
    pub op: usize,
    /// The gradient.
    pub gradient: Option<TensorId>,
}

/// The tensor that owns the bytes of `id`.
fn root(graph: &OpGraph, id: TensorId) -> TensorId {
    match graph.tensor(id).storage {
        Storage::View { of, .. } => root(graph, of),
        _ => id,
    }
}

impl Uses {
    /// Of all values of a graph.
    pub fn of(graph: &OpGraph) -> Self {
        let mut uses = Self {
            last_forward: FxHashMap::default(),
            readers: FxHashMap::default(),
            first_reader: FxHashMap::default(),
            first_backward: BTreeMap::new(),
        };
        let mut written: FxHashMap<TensorId, usize> = FxHashMap::default();
        for (index, op) in graph.ops.iter().enumerate() {
            if is_backward(op) {
                let trigger = uses.first_backward.entry(op.part).or_insert(Trigger { op: index, gradient: None });
                let arrived = |id: &&TensorId| written.get(*id).is_some_and(|&at| at < trigger.op);
                trigger.gradient = trigger.gradient.or_else(|| op.reads.iter().find(arrived).copied());
                written.extend(op.writes.iter().map(|&id| (id, index)));
                for &id in &op.reads {
                    uses.readers.entry(root(graph, id)).or_default().insert(op.part);
                    uses.first_reader.entry(root(graph, id)).or_insert(index);
                }
            } else if op.phase == Phase::Forward {
                uses.last_forward.extend(op.reads.iter().chain(&op.writes).map(|&id| (root(graph, id), index)));
            }
        }
        uses
    }

    /// Values of the forward pass that the backward pass of one layer alone reads, by layer: of those that `concerns`.
    pub fn worth(&self, graph: &OpGraph, concerns: &dyn Fn(u32) -> bool) -> BTreeMap<Part, Vec<TensorId>> {
        let mut of_part: BTreeMap<Part, Vec<TensorId>> = BTreeMap::new();
        let mut values: Vec<TensorId> = self.readers.keys().copied().collect();
        values.sort_unstable();
        for id in values {
            let tensor = graph.tensor(id);
            let here = tensor.storage == Storage::Own && tensor.place == Place::Device;
            let computed = tensor.role == Role::Activation && here;
            let only = self.readers[&id].iter().next().filter(|_| self.readers[&id].len() == 1);
            let Some(&part @ Part::Layer(layer)) = only else { continue };
            if computed && concerns(layer) && self.last_forward.contains_key(&id) {
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
}

/// Ops to put in, and what the backward pass reads instead.
#[derive(Default)]
pub struct Plan {
    behind: BTreeMap<usize, Vec<Op>>,
    before: BTreeMap<usize, Vec<Op>>,
    instead: FxHashMap<TensorId, TensorId>,
}

impl Plan {
    /// `away` takes `value` away behind an op, `back` brings it back before another; its last write is read instead.
    pub fn put(&mut self, value: TensorId, (behind, away): (usize, Op), (before, back): (usize, Op)) {
        self.instead.extend(back.writes.last().map(|&brought| (value, brought)));
        self.behind.entry(behind).or_default().push(away);
        self.before.entry(before).or_default().push(back);
    }

    /// Does all that was put.
    pub fn apply(&self, graph: &mut OpGraph) {
        let mut views: FxHashMap<TensorId, TensorId> = FxHashMap::default();
        for (index, mut op) in std::mem::take(&mut graph.ops).into_iter().enumerate() {
            if is_backward(&op) {
                op.reads = op.reads.iter().map(|&id| self.instead(graph, &mut views, id)).collect();
            }
            graph.ops.extend(self.before.get(&index).into_iter().flatten().cloned());
            graph.ops.push(op);
            graph.ops.extend(self.behind.get(&index).into_iter().flatten().cloned());
        }
    }

    /// What was brought back in the place of a value, or the same view of it.
    fn instead(&self, graph: &mut OpGraph, views: &mut FxHashMap<TensorId, TensorId>, id: TensorId) -> TensorId {
        if let Some(&copy) = self.instead.get(&id) {
            return copy;
        }
        let Some(&copy) = self.instead.get(&root(graph, id)) else { return id };
        if let Some(&view) = views.get(&id) {
            return view;
        }
        let tensor = graph.tensor(id).clone();
        let Storage::View { offset, .. } = tensor.storage else { return copy };
        let view = graph.add_tensor(Tensor { storage: Storage::View { of: copy, offset }, ..tensor });
        views.insert(id, view);
        view
    }
}
