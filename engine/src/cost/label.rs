//! What an op is called in a trace, with its work.

use std::collections::BTreeMap;

use super::{collective_bytes_per_rank, work};
use crate::cluster::Group;
use crate::graph::{Collective, DType, Op, OpKind, StepGraph};
use crate::scenario::Optimizer;
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

/// The number format in which an op computes: that of its first input. Muon's iterations run in bf16 whatever the
/// gradient is in (Jordan et al. 2024).
pub fn input_type(step: &StepGraph, op: &Op) -> DType {
    if let OpKind::Update { optimizer: Optimizer::Muon, .. } = op.kind {
        return DType::Bf16;
    }
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
    let mesh = step.mesh;
    let mut by_group: BTreeMap<Group, Bytes> = BTreeMap::new();
    let mut between_stages = Bytes::ZERO;
    for stage in &step.stages {
        for op in stage.tasks.iter().flat_map(|&task| stage.segment(task).ops()) {
            match op.kind {
                OpKind::Collective { collective, group } => {
                    *by_group.entry(group).or_default() += moved_in_ring(step, op, collective, group);
                }
                OpKind::Send(_) => between_stages += step.tensor(op.reads[0]).bytes() * u64::from(mesh.per_stage()),
                _ => {}
            }
        }
    }
    let mut moved: BTreeMap<&'static str, Bytes> = BTreeMap::new();
    if mesh.pp > 1 {
        moved.insert("pp", between_stages);
    }
    for (group, bytes) in by_group {
        // An op of a group that spans stages was counted on each of them, one inside a stage on every stage for itself;
        // a tied embedding on the two stages that have it.
        let counted = if group == Group::TiedEmbedding { mesh.pp.min(2) } else { mesh.pp };
        let bytes = Bytes(bytes.0 * u64::from(mesh.groups(group)) / u64::from(counted));
        *moved.entry(group.axis()).or_default() += bytes;
    }
    moved.retain(|_, bytes| *bytes > Bytes::ZERO);
    moved
}

/// Bytes that an op moves over all ranks of its group: a ring passes every byte on `n - 1` times.
fn moved_in_ring(step: &StepGraph, op: &Op, collective: Collective, group: Group) -> Bytes {
    let ranks = u64::from(step.mesh.group_size(group));
    // A shift hands every byte on once; all others keep a rank's own part.
    let rounds = if collective == Collective::Shift && ranks > 1 { ranks } else { ranks - 1 };
    let phases = if matches!(collective, Collective::AllReduce(_)) { 2 } else { 1 };
    full_size(step, op) * (rounds * phases)
}
