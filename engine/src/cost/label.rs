//! What an op is called in a trace, with its work.

use std::collections::BTreeMap;

use super::{collective_bytes_per_rank, work};
use crate::cluster::Group;
use crate::graph::{Collective, DType, Op, OpKind, StepGraph};
use crate::trace::Label;
use crate::units::Bytes;

/// The label of an op with its work.
pub fn label(step: &StepGraph, op: &Op) -> Label {
    let work = work(&step.dims, &step.tensors, op);
    let moved = communicated_bytes(step, op);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "work is not negative; the cast saturates"
    )]
    Label {
        name: op.name.clone(),
        class: op.kind.class(),
        phase: op.phase,
        flops: work.flops.0 as u64,
        bytes: moved.unwrap_or(work.bytes).0,
    }
}

/// The number format in which an op computes: that of its first input.
pub fn input_type(step: &StepGraph, op: &Op) -> DType {
    op.reads.first().or(op.writes.first()).map_or(DType::F32, |&id| step.tensor(id).dtype)
}

/// Bytes that one rank sends for an op, if it communicates.
pub fn communicated_bytes(step: &StepGraph, op: &Op) -> Option<Bytes> {
    match op.kind {
        OpKind::Collective { collective, group } => {
            let full = full_size(step, op);
            Some(collective_bytes_per_rank(collective, full, step.mesh.group_size(group)))
        }
        OpKind::Send(_) => Some(step.tensor(op.reads[0]).bytes()),
        OpKind::Receive(_) => Some(step.tensor(op.writes[0]).bytes()),
        _ => None,
    }
}

/// The size of a collective's value in full: its larger side.
pub fn full_size(step: &StepGraph, op: &Op) -> Bytes {
    step.tensor(op.reads[0]).bytes().max(step.tensor(op.writes[0]).bytes())
}

/// Bytes that a step moves between ranks, by axis, over all ranks: what an execution must move too.
pub fn bytes_moved(step: &StepGraph) -> BTreeMap<&'static str, Bytes> {
    let mut moved: BTreeMap<&'static str, Bytes> = BTreeMap::new();
    let replicas = u64::from(step.mesh.dp * step.mesh.tp);
    for stage in &step.stages {
        for op in stage.tasks.iter().flat_map(|&task| stage.segment(task).ops()) {
            if let Some((axis, bytes)) = moved_by(step, op) {
                *moved.entry(axis).or_default() += bytes * replicas;
            }
        }
    }
    // Every group was counted once by each of its stages' ranks: the sum over a group, divided by its size.
    for (axis, bytes) in &mut moved {
        let size =
            Group::ALL.iter().find(|group| group.axis() == *axis).map_or(1, |&group| step.mesh.group_size(group));
        *bytes = Bytes(bytes.0 / u64::from(size));
    }
    moved
}

/// Axis and bytes that an op moves over all ranks of its group: a ring passes every byte on `n - 1` times.
fn moved_by(step: &StepGraph, op: &Op) -> Option<(&'static str, Bytes)> {
    match op.kind {
        OpKind::Collective { collective, group } => {
            let rounds = u64::from(step.mesh.group_size(group) - 1);
            let phases = if matches!(collective, Collective::AllReduce(_)) { 2 } else { 1 };
            Some((group.axis(), full_size(step, op) * (rounds * phases)))
        }
        OpKind::Send(_) => Some(("pp", step.tensor(op.reads[0]).bytes())),
        _ => None,
    }
}
