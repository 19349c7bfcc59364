//! Fourth pass: forgets a layer's activations and computes them again in its backward pass (Chen et al. 2016).

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::{Op, OpGraph, OpKind, Part, Role, Tensor, TensorId};
use crate::scenario::Recompute;
use crate::trace::Phase;

/// Applies the policy to every transformer layer.
pub fn recompute(graph: OpGraph, policy: Recompute) -> OpGraph {
    match policy {
        Recompute::None => graph,
        Recompute::Selective => again(graph, is_score),
        Recompute::Full => again(graph, |_| true),
    }
}

/// What selective recomputation repeats: cheap to compute, large to keep (Korthikanti et al. 2022, section 5).
fn is_score(op: &Op) -> bool {
    matches!(op.kind, OpKind::AttentionScores | OpKind::AttentionSoftmax)
}

fn again(mut graph: OpGraph, repeated: fn(&Op) -> bool) -> OpGraph {
    let old = std::mem::take(&mut graph.ops);
    let (mut seen, mut copies) = (BTreeSet::new(), BTreeMap::new());
    for mut op in old.iter().cloned() {
        if let (Phase::Backward, Part::Layer(layer)) = (op.phase, op.part) {
            if seen.insert(layer) {
                let needed = needed_again(&old, op.part, repeated);
                copies = repeat(&mut graph, &needed);
            }
            op.reads = op.reads.iter().map(|id| copies.get(id).copied().unwrap_or(*id)).collect();
        }
        graph.ops.push(op);
    }
    graph
}

/// The forward ops of `part` whose results its backward ops read, and what those ops read in turn.
fn needed_again(ops: &[Op], part: Part, repeated: fn(&Op) -> bool) -> Vec<Op> {
    let backward = ops.iter().filter(|op| op.part == part && op.phase == Phase::Backward);
    let mut wanted: BTreeSet<TensorId> = backward.flat_map(|op| op.reads.iter().copied()).collect();
    let mut needed: Vec<Op> = Vec::new();
    for op in ops.iter().rev().filter(|op| op.part == part && op.phase == Phase::Forward) {
        if repeated(op) && op.writes.iter().any(|id| wanted.contains(id)) {
            wanted.extend(&op.reads);
            needed.push(op.clone());
        }
    }
    needed.reverse();
    needed
}

/// Appends copies of `ops` that write new tensors; returns the new tensor of each old one.
fn repeat(graph: &mut OpGraph, ops: &[Op]) -> BTreeMap<TensorId, TensorId> {
    let mut copies = BTreeMap::new();
    for op in ops {
        let reads = op.reads.iter().map(|id| copies.get(id).copied().unwrap_or(*id)).collect();
        let writes: Vec<_> = op.writes.iter().map(|&id| copy(graph, id)).collect();
        copies.extend(op.writes.iter().copied().zip(writes.iter().copied()));
        let name = format!("{} again", op.name);
        graph.ops.push(Op { name, phase: Phase::Recompute, reads, writes, ..op.clone() });
    }
    copies
}

fn copy(graph: &mut OpGraph, id: TensorId) -> TensorId {
    let tensor = graph.tensor(id).clone();
    let name = format!("{} again", tensor.name);
    graph.add_tensor(Tensor { name, role: Role::Activation, ..tensor })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::passes::{differentiate::differentiate, forward::forward};
    use crate::scenario::Scenario;

    #[test]
    fn backward_of_a_layer_reads_nothing_of_its_forward_but_the_input() {
        let scenario = Scenario::preset("tiny-llama-pp2-tp2").expect("a preset");
        let graph = recompute(differentiate(forward(&scenario)), Recompute::Full);
        graph.verify().expect("still a valid graph");
        let written = |phase: Phase, part: Part| -> BTreeSet<TensorId> {
            let ops = graph.ops.iter().filter(move |op| op.phase == phase && op.part == part);
            ops.flat_map(|op| op.writes.clone()).collect()
        };
        for layer in (0..scenario.model().layers).map(Part::Layer) {
            let forward = written(Phase::Forward, layer);
            let backward = graph.ops.iter().filter(|op| op.phase == Phase::Backward && op.part == layer);
            let kept: Vec<_> = backward.flat_map(|op| &op.reads).filter(|id| forward.contains(id)).collect();
            assert!(kept.is_empty(), "{layer:?} keeps {kept:?}");
            assert!(!written(Phase::Recompute, layer).is_empty(), "{layer:?} computes again");
        }
    }
}
