//! What an op is called in a trace, with its work.

use super::{collective_bytes_per_rank, work};
use crate::graph::{Op, OpKind, StepGraph};
use crate::trace::Label;
use crate::units::Bytes;

/// The label of an op with its work.
pub fn label(step: &StepGraph, op: &Op) -> Label {
    let work = work(&step.dims, &step.tensors, op);
    let moved = communicated_bytes(step, op);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "work is not negative; the cast saturates")]
    Label {
        name: op.name.clone(),
        class: op.kind.class(),
        phase: op.phase,
        flops: work.flops.0 as u64,
        bytes: moved.unwrap_or(work.bytes).0,
    }
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
