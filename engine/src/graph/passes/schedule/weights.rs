//! Takes the gradients of the weights out of a chunk's backward ops, for schedules that fill bubbles with them
//! (Qi et al. 2023, section 2).

use std::collections::BTreeSet;

use super::ChunkPlan;
use crate::graph::{Op, OpKind, Role, Tensor, TensorId};
use crate::trace::Phase;

/// Moves ops that write nothing but gradients, and collectives that only they need, to the chunk's weight ops.
pub(super) fn take_out(tensors: &[Tensor], chunk: &mut ChunkPlan) {
    let mut needed: BTreeSet<TensorId> = BTreeSet::new();
    let mut weight = Vec::new();
    let mut backward = Vec::new();
    for op in std::mem::take(&mut chunk.backward).into_iter().rev() {
        let converts = matches!(op.kind, OpKind::Collective { .. });
        let moves = writes_gradients(tensors, &op) || converts && !op.writes.iter().any(|id| needed.contains(id));
        if moves {
            weight.push(Op { phase: Phase::WeightGradient, ..op });
        } else {
            needed.extend(&op.reads);
            backward.push(op);
        }
    }
    backward.reverse();
    weight.reverse();
    chunk.backward = backward;
    chunk.weight = Some(weight);
}

fn writes_gradients(tensors: &[Tensor], op: &Op) -> bool {
    let role = |id: &TensorId| tensors[id.index()].role;
    let is_gradient = |id: &TensorId| matches!(role(id), Role::Gradient | Role::ComputedGradient);
    op.writes.iter().any(is_gradient) && op.writes.iter().all(|id| is_gradient(id) || role(id) == Role::Scratch)
}
