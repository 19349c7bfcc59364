//! Sixth pass: spreads experts, or the tables of a recommender, over ranks. Tokens go to the ranks of their experts and come back, forward and backward
//! (Lepikhin et al. 2021, "GShard", section 3.2).
//!
//! Rows are placed by tokens where they are dispatched and combined, and by experts where experts work on them; an
//! all-to-all converts one into the other, before a gather over the tensor group and after a sum over it.

use std::collections::BTreeMap;

use crate::cluster::{Group, Mesh};
use crate::graph::{Collective, Op, OpGraph, OpKind, Role, Spread, Storage, Tensor, TensorId};
use crate::scenario::{ExpertDispatch, Strategy};

/// Gives every rank its experts, and moves rows to them: of every token as many as it has experts.
pub fn experts(graph: OpGraph, strategy: &Strategy, per_token: u32) -> OpGraph {
    let mesh = &strategy.mesh();
    if mesh.ep == 1 {
        return graph;
    }
    let collective = match strategy.expert_dispatch {
        ExpertDispatch::AllToAll => Collective::AllToAll,
        ExpertDispatch::OncePerNode => Collective::AllToAllOnce { copies: per_token },
    };
    let mut spreader = Spreader { graph, collective, moved: BTreeMap::new() };
    for op in std::mem::take(&mut spreader.graph.ops) {
        spreader.op(op, mesh);
    }
    let mut graph = spreader.graph;
    for tensor in graph.tensors.iter_mut().filter(|tensor| tensor.spread == Spread::Experts) {
        tensor.local.rows /= mesh.ep;
    }
    graph
}

struct Spreader {
    graph: OpGraph,
    /// How rows are exchanged.
    collective: Collective,
    /// Rows on the other side: of their experts, or of their tokens.
    moved: BTreeMap<TensorId, TensorId>,
}

impl Spreader {
    fn op(&mut self, mut op: Op, mesh: &Mesh) {
        match op.kind {
            // Rows that come back from their experts.
            OpKind::Combine | OpKind::CombineGrad | OpKind::DispatchGrad => {
                op.reads[0] = self.come_back(op.reads[0], &op);
            }
            // What samples look up goes to the ranks of the tables, and so do the gradients of what they found.
            OpKind::EmbeddingBag => op.reads[0] = self.come_back(op.reads[0], &op),
            OpKind::EmbeddingBagUpdate => {
                op.reads = op.reads.iter().map(|&id| self.come_back(id, &op)).collect();
            }
            OpKind::SumSquares { .. } => {
                let of_experts = self.graph.tensor(op.reads[0]).spread == Spread::Experts;
                // The norm is summed over all ranks, so a copy counts by its share; the schedule counts those of a second copy
                // of the model.
                let copies = if of_experts { mesh.expert_copies() } else { mesh.copies() };
                op.kind = OpKind::SumSquares { copies: copies / mesh.images() };
            }
            _ => op.reads = op.reads.iter().map(|id| self.moved.get(id).copied().unwrap_or(*id)).collect(),
        }
        let sends = matches!(op.kind, OpKind::Dispatch | OpKind::CombineGrad | OpKind::EmbeddingBag);
        let rows = op.writes[..usize::from(sends)].first().copied();
        self.graph.ops.push(op.clone());
        if let Some(rows) = rows {
            let there = self.all_to_all(rows, &op);
            self.moved.insert(rows, there);
        }
    }

    /// The rows of `id` on the other side, at their tokens' ranks or at their tables', moved once.
    fn come_back(&mut self, id: TensorId, reader: &Op) -> TensorId {
        if let Some(&back) = self.moved.get(&id) {
            return back;
        }
        let back = self.all_to_all(id, reader);
        self.moved.insert(id, back);
        back
    }

    fn all_to_all(&mut self, id: TensorId, like: &Op) -> TensorId {
        let tensor = self.graph.tensor(id).clone();
        let name = format!("{} exchanged", tensor.name);
        let (storage, role) = (Storage::Own, Role::Activation);
        let moved = self.graph.add_tensor(Tensor { name: name.into(), storage, role, ..tensor });
        let kind = OpKind::Collective { collective: self.collective, group: Group::Expert };
        let name = format!("{} all-to-all", self.graph.tensor(id).name);
        let op = Op { kind, name: name.into(), reads: vec![id], writes: vec![moved], ..like.clone() };
        self.graph.ops.push(op);
        moved
    }
}
