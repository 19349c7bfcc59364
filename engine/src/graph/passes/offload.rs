//! Activations of some layers wait for their backward pass in the host's memory (Rhu et al. 2016, "vDNN"; Megatron-Core's
//! `cpu_offloading_num_layers`).
//!
//! What only a layer's backward pass reads is copied to the host behind its last use in the forward, and back while the
//! backward pass of the layer behind it runs.

use std::collections::BTreeMap;

use super::waiting::{Plan, Trigger, Uses};
use crate::graph::{Op, OpGraph, OpKind, Part, Tensor, TensorId};
use crate::scenario::{Place, Strategy};
use crate::trace::Phase;

/// Offloads the first layers of every virtual stage.
pub fn offload(mut graph: OpGraph, strategy: &Strategy) -> OpGraph {
    let layers = offloaded(strategy);
    if layers.is_empty() {
        return graph;
    }
    let uses = Uses::of(&graph);
    let mut plan = Plan::default();
    for (&part, values) in &uses.worth(&graph, &|layer| layers.contains_key(&layer)) {
        let Some(trigger) = trigger(&uses, part, &layers) else { continue };
        for &value in values {
            copy(&mut graph, &mut plan, value, part, trigger, &uses);
        }
    }
    plan.apply(&mut graph);
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

/// When copies of a layer's values start to come back: with the backward pass of the layer behind it, or with its own where
/// that layer keeps its values.
fn trigger(uses: &Uses, part: Part, layers: &Layers) -> Option<Trigger> {
    let Part::Layer(layer) = part else { return None };
    let behind = layers.get(&(layer + 1)).filter(|&depth| layers.get(&layer) == Some(depth));
    let behind = behind.map(|_| Part::Layer(layer + 1));
    behind.and_then(|behind| uses.first_backward.get(&behind)).or_else(|| uses.first_backward.get(&part)).copied()
}

fn copy(graph: &mut OpGraph, plan: &mut Plan, value: TensorId, part: Part, trigger: Trigger, uses: &Uses) {
    let tensor = graph.tensor(value).clone();
    let of = tensor.name.clone();
    let copy = |what: &str, place| Tensor { name: format!("{of} {what}").into(), part, place, ..tensor.clone() };
    let there = graph.add_tensor(copy("on the host", Place::Host));
    let back = graph.add_tensor(copy("back", tensor.place));
    let op = |kind, what: &str, phase, reads: Vec<TensorId>, write| {
        let name = format!("{of} {what}").into();
        Op { kind, name, part, phase, reads, writes: vec![write] }
    };
    let out = op(OpKind::ToHost, "to host", Phase::Forward, vec![value], there);
    let reads = std::iter::once(there).chain(trigger.gradient).collect();
    let back = op(OpKind::FromHost, "from host", Phase::Backward, reads, back);
    plan.put(value, (uses.last_forward[&value], out), (trigger.op, back));
}
