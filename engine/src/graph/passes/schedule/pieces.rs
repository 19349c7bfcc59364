//! Cuts forward and backward into pieces that run in turn with those of another micro-batch: while one waits for what it
//! has sent, the other computes (DeepSeek-AI 2024, "DeepSeek-V3", section 3.2.1; Megatron-Core's overlap of the expert
//! all-to-all with 1F1B).

use crate::cluster::Group;
use crate::graph::{Op, OpKind, Piece, SegmentKind, Task};
use crate::scenario::Strategy;
use crate::scenario::pipeline::{Pass, Slot};

/// The group whose collectives are to be hidden: the innermost that there is whose ranks wait inside layers.
pub fn hidden_group(strategy: &Strategy) -> Option<Group> {
    let mesh = strategy.mesh();
    [Group::Expert, Group::Context, Group::Tensor].into_iter().find(|&group| mesh.group_size(group) > 1)
}

/// Whether segments of a kind run beside others.
pub fn runs_beside(kind: SegmentKind) -> bool {
    matches!(kind, SegmentKind::Forward | SegmentKind::Backward | SegmentKind::BackwardLast)
}

/// The ops, cut behind every collective of a group.
pub fn cut(ops: Vec<Op>, group: Option<Group>) -> Vec<(Piece, Vec<Op>)> {
    let ends = |op: &Op| matches!(op.kind, OpKind::Collective { group: of, .. } if Some(of) == group);
    let mut pieces: Vec<Vec<Op>> = vec![Vec::new()];
    for op in ops {
        let end = ends(&op);
        if let Some(piece) = pieces.last_mut() {
            piece.push(op);
        }
        if end {
            pieces.push(Vec::new());
        }
    }
    // What ends with a collective has nothing behind it.
    if pieces.len() > 1 && pieces.last().is_some_and(Vec::is_empty) {
        pieces.pop();
    }
    let last = pieces.len() - 1;
    let piece = |number: usize| Piece { number: u32::try_from(number).unwrap_or(u32::MAX), last: number == last };
    pieces.into_iter().enumerate().map(|(number, ops)| (piece(number), ops)).collect()
}

/// Whether a slot runs beside the one behind it: a backward beside a forward of something else.
pub fn run_together(slot: &Slot, next: &Slot) -> bool {
    let same = (slot.chunk, slot.micro_batch) == (next.chunk, next.micro_batch);
    slot.pass == Pass::Backward && next.pass == Pass::Forward && !same
}

/// Both lists in turn, the longer one evenly between the shorter one's. Of equal lists the first begins, so that what it
/// sends first is hidden behind the other's first piece.
pub fn side_by_side(first: Vec<Task>, second: Vec<Task>) -> Vec<Task> {
    let (n, m) = (first.len(), second.len());
    let place = |index: usize, others: usize| (2 * index + 1) * others;
    let first = first.into_iter().enumerate().map(|(index, task)| (place(index, m), 0, task));
    let second = second.into_iter().enumerate().map(|(index, task)| (place(index, n), 1, task));
    let mut all: Vec<_> = first.chain(second).collect();
    all.sort_by_key(|&(place, list, _)| (place, list));
    all.into_iter().map(|(_, _, task)| task).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::SegmentId;

    #[test]
    fn pieces_run_in_turn() {
        let list = |from: u32, n: u32| -> Vec<Task> {
            (from..from + n).map(|number| Task { segment: SegmentId(number), micro_batch: Some(0) }).collect()
        };
        let order = |n, m| -> Vec<u32> {
            side_by_side(list(0, n), list(10, m)).into_iter().map(|task| task.segment.0).collect()
        };
        assert_eq!(order(3, 3), [0, 10, 1, 11, 2, 12]);
        assert_eq!(order(4, 2), [0, 10, 1, 2, 11, 3]);
        assert_eq!(order(1, 3), [10, 0, 11, 12]);
    }
}
