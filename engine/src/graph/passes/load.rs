//! Eighth pass: what a micro-batch reads comes from a loader, where the scenario describes one.
//!
//! An op of the host brings the inputs of each part of the model (tokens to the embedding, targets to the head) before the
//! first op that reads them, so that waiting for samples is waiting for an op like any other.

use std::collections::BTreeMap;

use crate::graph::{Op, OpGraph, OpKind, Part, Role, TensorId};
use crate::scenario::{AccessPattern, Scenario};
use crate::trace::Phase;

/// Whether the steps of a scenario are fed by a loader: rows of tables are looked up by the step itself.
pub fn is_loaded(scenario: &Scenario) -> bool {
    scenario.data().input.is_some_and(|input| input.access.pattern != AccessPattern::Zipf)
}

/// Puts loads before the ops that read inputs first.
pub fn load(mut graph: OpGraph, scenario: &Scenario) -> OpGraph {
    if !is_loaded(scenario) {
        return graph;
    }
    let mut wanted = first_reads(&graph);
    let mut ops = Vec::with_capacity(graph.ops.len() + wanted.len());
    for (place, op) in graph.ops.into_iter().enumerate() {
        ops.extend(wanted.remove(&place).map(|(part, inputs)| loaded(part, inputs)));
        ops.push(op);
    }
    graph.ops = ops;
    graph
}

/// By the place of the first op of each part that reads inputs, the part and all inputs that it is the first to read.
fn first_reads(graph: &OpGraph) -> BTreeMap<usize, (Part, Vec<TensorId>)> {
    let mut of_part: BTreeMap<Part, (usize, Vec<TensorId>)> = BTreeMap::new();
    let mut known: Vec<TensorId> = Vec::new();
    for (place, op) in graph.ops.iter().enumerate() {
        for &id in op.reads.iter().filter(|&&id| graph.tensor(id).role == Role::Input) {
            if !known.contains(&id) {
                known.push(id);
                of_part.entry(op.part).or_insert_with(|| (place, Vec::new())).1.push(id);
            }
        }
    }
    of_part.into_iter().map(|(part, (place, inputs))| (place, (part, inputs))).collect()
}

fn loaded(part: Part, writes: Vec<TensorId>) -> Op {
    Op { kind: OpKind::Load, name: "samples".into(), part, phase: Phase::Forward, reads: Vec::new(), writes }
}
