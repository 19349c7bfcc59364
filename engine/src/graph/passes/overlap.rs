//! Sixth pass: cuts tensor-parallel matmuls and their collectives into chunks of tokens that follow each other, so that
//! one chunk is computed while the next is gathered, and reduced while the next is computed (Wang et al. 2023,
//! "Overlap communication with dependent computation via decomposition"; Transformer Engine's userbuffers).
//!
//! Chunks are views of the whole values, which `Split` and `Join` tie to them; neither costs anything. What is reduced
//! while the gradient of a weight is computed needs no chunks: there streams alone overlap.

use rustc_hash::{FxHashMap, FxHashSet};

use super::shard::scratch;
use crate::cluster::Group;
use crate::graph::{Collective, Op, OpGraph, OpKind, Role, Storage, Tensor, TensorId};
use crate::trace::Phase;

/// Cuts into `chunks`; `ranks` share a layer.
pub fn overlap(graph: OpGraph, chunks: u32, ranks: u32) -> OpGraph {
    if chunks == 1 || ranks == 1 {
        return graph;
    }
    let reducers: FxHashMap<TensorId, Op> =
        graph.ops.iter().filter(|op| reduces(op)).map(|op| (op.reads[0], op.clone())).collect();
    let multiplied = graph.ops.iter().filter(|op| multiplies(op)).map(|op| op.reads[0]).collect();
    let mut cutter = Cutter {
        graph,
        chunks,
        ranks,
        reducers,
        multiplied,
        chunks_of: FxHashMap::default(),
        joins: FxHashMap::default(),
    };
    for op in std::mem::take(&mut cutter.graph.ops) {
        cutter.op(op);
    }
    cutter.graph
}

/// Whether an op sums terms of activations over the tensor group.
fn reduces(op: &Op) -> bool {
    matches!(
        op.kind,
        OpKind::Collective { collective: Collective::ReduceScatter | Collective::AllReduce(_), group: Group::Tensor }
    )
}

/// Whether an op multiplies what its ranks share with weights; gradients of weights need all tokens.
fn multiplies(op: &Op) -> bool {
    matches!(op.kind, OpKind::Matmul { accumulate: false, .. })
}

struct Cutter {
    graph: OpGraph,
    chunks: u32,
    ranks: u32,
    /// The collective that reduces a value.
    reducers: FxHashMap<TensorId, Op>,
    /// What matmuls read.
    multiplied: FxHashSet<TensorId>,
    chunks_of: FxHashMap<TensorId, Vec<TensorId>>,
    /// Joins that nothing has asked for yet: on an in-order stream they would hold up what only needs the first chunk.
    joins: FxHashMap<TensorId, Op>,
}

impl Cutter {
    fn op(&mut self, op: Op) {
        let gathers = OpKind::Collective { collective: Collective::AllGather, group: Group::Tensor };
        if op.kind == gathers && self.multiplied.contains(&op.writes[0]) && self.divides(op.writes[0]) {
            return self.gather(&op);
        }
        if multiplies(&op) {
            // In the backward pass the gradient of the weight is computed meanwhile.
            let reducer = self.reducers.get(&op.writes[0]).filter(|_| op.phase != Phase::Backward);
            let reducer = reducer.filter(|_| self.divides(op.writes[0])).cloned();
            if reducer.is_some() || self.chunks_of.contains_key(&op.reads[0]) {
                return self.matmul(&op, reducer.as_ref());
            }
        }
        // What was reduced by chunks is there already.
        if !(reduces(&op) && self.chunks_of.contains_key(&op.writes[0])) {
            self.push(op);
        }
    }

    /// Appends an op behind the joins of what it reads.
    fn push(&mut self, op: Op) {
        let joins: Vec<Op> = op.reads.iter().filter_map(|id| self.joins.remove(id)).collect();
        self.graph.ops.extend(joins);
        self.graph.ops.push(op);
    }

    /// Whether a rank's rows of a value can be cut evenly, after the reduction too.
    fn divides(&self, id: TensorId) -> bool {
        let tensor = self.graph.tensor(id);
        tensor.role == Role::Activation && tensor.local.rows.is_multiple_of(self.chunks * self.ranks)
    }

    /// Views of a value, one for each chunk of its rows.
    fn views(&mut self, id: TensorId) -> Vec<TensorId> {
        let tensor = self.graph.tensor(id).clone();
        let cut = |mut shape: crate::graph::Shape| {
            shape.rows /= self.chunks;
            shape
        };
        let (shape, local) = (cut(tensor.shape), cut(tensor.local));
        let view = |number: u32| Tensor {
            name: format!("{} chunk {number}", tensor.name).into(),
            shape,
            local,
            storage: Storage::View { of: id, offset: u64::from(number) * local.elements() },
            ..tensor.clone()
        };
        let views: Vec<Tensor> = (0..self.chunks).map(view).collect();
        let views: Vec<TensorId> = views.into_iter().map(|view| self.graph.add_tensor(view)).collect();
        self.chunks_of.insert(id, views.clone());
        views
    }

    /// The chunks of a value that is there as a whole.
    fn split(&mut self, id: TensorId, like: &Op) -> Vec<TensorId> {
        if let Some(chunks) = self.chunks_of.get(&id) {
            return chunks.clone();
        }
        let views = self.views(id);
        let name = format!("{} split", like.name);
        let (reads, writes) = (vec![id], views.clone());
        self.push(Op { kind: OpKind::Split, name: name.into(), reads, writes, ..like.clone() });
        // Another phase splits it anew, since it may have been computed again.
        self.chunks_of.remove(&id);
        views
    }

    fn join(&mut self, chunks: Vec<TensorId>, whole: TensorId, like: &Op) {
        let name = format!("{} join", like.name);
        let join = Op { kind: OpKind::Join, name: name.into(), reads: chunks, writes: vec![whole], ..like.clone() };
        self.joins.insert(whole, join);
    }

    fn gather(&mut self, op: &Op) {
        let parts = self.split(op.reads[0], op);
        let whole = self.views(op.writes[0]);
        for (number, (&part, &gathered)) in parts.iter().zip(&whole).enumerate() {
            let name = format!("{} {number}", op.name);
            self.graph.ops.push(Op { name: name.into(), reads: vec![part], writes: vec![gathered], ..op.clone() });
        }
        self.join(whole, op.writes[0], op);
    }

    /// A matmul of every chunk, each with its reduction right behind it.
    fn matmul(&mut self, op: &Op, reducer: Option<&Op>) {
        let inputs = self.split(op.reads[0], op);
        let products = self.views(op.writes[0]);
        let reduced = reducer.map(|reducer| self.views(reducer.writes[0]));
        for (number, (&input, &product)) in inputs.iter().zip(&products).enumerate() {
            let reads = std::iter::once(input).chain(op.reads[1..].iter().copied()).collect();
            let name = format!("{} {number}", op.name);
            self.graph.ops.push(Op { name: name.into(), reads, writes: vec![product], ..op.clone() });
            if let (Some(reducer), Some(reduced)) = (reducer, &reduced) {
                let chunk = self.graph.tensor(product).clone();
                let writes = vec![reduced[number], scratch(&mut self.graph, &chunk, self.ranks)];
                let name = format!("{} {number}", reducer.name);
                let reads = vec![product];
                self.graph.ops.push(Op { name: name.into(), reads, writes, ..reducer.clone() });
            }
        }
        match (reducer, reduced) {
            (Some(reducer), Some(reduced)) => self.join(reduced, reducer.writes[0], reducer),
            _ => self.join(products, op.writes[0], op),
        }
    }
}
