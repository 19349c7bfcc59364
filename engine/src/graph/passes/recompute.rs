//! Fourth pass: forgets a layer's activations and computes them again in its backward pass (Chen et al. 2016).

use std::collections::BTreeMap;

use rustc_hash::FxHashSet;

use super::budget::Repeats;
use crate::graph::{Op, OpGraph, OpKind, Part, Role, Tensor, TensorId};
use crate::scenario::{Recompute, RecomputeModule, Strategy};
use crate::trace::{Phase, name};

/// Parts that a budget repeats before whole layers.
const CHEAP: [RecomputeModule; 3] = [RecomputeModule::Norm, RecomputeModule::Activation, RecomputeModule::Attention];

/// Applies the strategy's policy to the layers; `chosen` is what a budget has chosen.
pub fn recompute(graph: OpGraph, strategy: &Strategy, chosen: &Repeats) -> OpGraph {
    match strategy.recompute {
        Recompute::None => graph,
        Recompute::Budget if chosen.is_empty() => graph,
        Recompute::Budget => again(graph, &|op| {
            let Part::Layer(layer) = op.part else { return false };
            let cheap = chosen.cheap.contains(&layer) && CHEAP.iter().any(|&module| belongs(op, module));
            cheap || chosen.whole.contains(&layer)
        }),
        Recompute::Selective => {
            again(graph, &|op| strategy.recompute_modules.iter().any(|&module| belongs(op, module)))
        }
        Recompute::Full => {
            let interval = strategy.recompute_interval;
            again(graph, &|op| matches!(op.part, Part::Layer(layer) if layer.is_multiple_of(interval)))
        }
    }
}

/// Whether an op is of a part that selective recomputation repeats: cheap to compute, large to keep.
fn belongs(op: &Op, module: RecomputeModule) -> bool {
    let named = |names: &[&str]| names.iter().any(|name| op.name.ends_with(name));
    match module {
        RecomputeModule::Attention => {
            matches!(op.kind, OpKind::AttentionScores | OpKind::AttentionSoftmax) || named(&[" attention dropout"])
        }
        RecomputeModule::Norm => op.kind == OpKind::Norm,
        RecomputeModule::Activation => matches!(op.kind, OpKind::Gelu | OpKind::SwiGlu | OpKind::Silu | OpKind::Gate),
        RecomputeModule::LatentUp => op.kind == OpKind::LatentJoin || named(&[" query up", " kv up"]),
        RecomputeModule::Mlp => named(&[" mlp up", " mlp gate", " mlp activation"]),
        RecomputeModule::Experts => {
            matches!(op.kind, OpKind::Dispatch | OpKind::GroupedMatmul { .. })
                || named(&[" expert gate", " expert activation"])
        }
    }
}

fn again(mut graph: OpGraph, repeated: &dyn Fn(&Op) -> bool) -> OpGraph {
    let old = std::mem::take(&mut graph.ops);
    let needed = |places: Vec<usize>| needed_again(&old, &places, repeated);
    let mut needed: BTreeMap<u32, Vec<Op>> =
        ops_of_layers(&old).into_iter().map(|(layer, places)| (layer, needed(places))).collect();
    let mut copies = BTreeMap::new();
    for mut op in old {
        if let (Phase::Backward, Part::Layer(layer)) = (op.phase, op.part) {
            if let Some(ops) = needed.remove(&layer) {
                copies = repeat(&mut graph, &ops);
            }
            op.reads.iter_mut().for_each(|id| *id = copies.get(id).copied().unwrap_or(*id));
        }
        graph.ops.push(op);
    }
    graph
}

/// The places of every layer's ops.
fn ops_of_layers(ops: &[Op]) -> BTreeMap<u32, Vec<usize>> {
    let mut places: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (place, op) in ops.iter().enumerate() {
        if let Part::Layer(layer) = op.part {
            places.entry(layer).or_default().push(place);
        }
    }
    places
}

/// Of the ops at some places the forward ones whose results backward ones read, and what those ops read in turn.
fn needed_again(ops: &[Op], places: &[usize], repeated: &dyn Fn(&Op) -> bool) -> Vec<Op> {
    let of_phase = |phase: Phase| places.iter().map(|&place| &ops[place]).filter(move |op| op.phase == phase);
    let mut wanted: FxHashSet<TensorId> = of_phase(Phase::Backward).flat_map(|op| op.reads.iter().copied()).collect();
    let mut needed: Vec<Op> = Vec::new();
    for op in of_phase(Phase::Forward).rev() {
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
        let name = name(&[&op.name, " again"]);
        graph.ops.push(Op { kind: op.kind, name, part: op.part, phase: Phase::Recompute, reads, writes });
    }
    copies
}

fn copy(graph: &mut OpGraph, id: TensorId) -> TensorId {
    let tensor = graph.tensor(id).clone();
    let name = name(&[&tensor.name, " again"]);
    graph.add_tensor(Tensor { name, role: Role::Activation, ..tensor })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::graph::passes::{differentiate::differentiate, forward::forward};
    use crate::scenario::Scenario;

    #[test]
    fn backward_of_a_layer_reads_nothing_of_its_forward_but_the_input() {
        let scenario = Scenario::preset("tiny-llama-pp2-tp2").expect("a preset");
        let strategy = Strategy { recompute: Recompute::Full, ..scenario.strategy().clone() };
        let graph = recompute(differentiate(forward(&scenario)), &strategy, &Repeats::default());
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
