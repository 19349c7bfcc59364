//! Activations wait for their backward pass in eight bits, with a scale for every 128 of them (Chen et al. 2021, "ActNN"; in
//! FP8 as Xi et al. 2024, "COAT", keep them).
//!
//! The forward pass reads them as they were computed, so the loss does not change; gradients do, by what rounding takes.

use std::collections::BTreeSet;

use super::waiting::{Plan, Uses};
use crate::graph::{DType, Op, OpGraph, OpKind, Part, Tensor, TensorId};
use crate::scenario::Strategy;
use crate::trace::Phase;

/// Rounds what layers keep for their backward passes.
pub fn compress(mut graph: OpGraph, strategy: &Strategy) -> OpGraph {
    if !strategy.compress_activations {
        return graph;
    }
    let (uses, exact) = (Uses::of(&graph), kept_exactly(&graph));
    let mut plan = Plan::default();
    for (&part, values) in &uses.worth(&graph, &|_| true) {
        for &value in values.iter().filter(|value| !exact.contains(value)) {
            round(&mut graph, &mut plan, value, part, &uses);
        }
    }
    plan.apply(&mut graph);
    graph
}

/// What must not be rounded: what is no number in 16 or 32 bits, masks and statistics beside an op's result, and what a
/// backward pass compares with something else.
fn kept_exactly(graph: &OpGraph) -> BTreeSet<TensorId> {
    let wide = |tensor: &Tensor| matches!(tensor.dtype, DType::F32 | DType::Tf32 | DType::Bf16 | DType::F16);
    let all = graph.tensors.iter().enumerate();
    let mut exact: BTreeSet<TensorId> =
        all.filter(|(_, tensor)| !wide(tensor)).map(|(index, _)| TensorId::new(index)).collect();
    for op in &graph.ops {
        exact.extend(op.writes.iter().skip(1));
        if matches!(op.kind, OpKind::PoolGrad(_) | OpKind::Route | OpKind::RouteGrad) {
            exact.extend(op.reads.iter().chain(&op.writes));
        }
    }
    exact
}

fn round(graph: &mut OpGraph, plan: &mut Plan, value: TensorId, part: Part, uses: &Uses) {
    let tensor = graph.tensor(value).clone();
    let of = tensor.name.clone();
    let copy = |what: &str, dtype| Tensor { name: format!("{of} {what}").into(), part, dtype, ..tensor.clone() };
    let short = graph.add_tensor(copy("in 8 bits", DType::F8Block));
    let wide = graph.add_tensor(copy("again wide", tensor.dtype));
    let cast = |what: &str, phase, read, write| {
        let name = format!("{of} {what}").into();
        Op { kind: OpKind::Cast, name, part, phase, reads: vec![read], writes: vec![write] }
    };
    let away = cast("compress", Phase::Forward, value, short);
    let back = cast("decompress", Phase::Backward, short, wide);
    plan.put(value, (uses.last_forward[&value], away), (uses.first_reader[&value], back));
}
