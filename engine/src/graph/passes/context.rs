//! Seventh pass: attention over a sequence whose tokens are spread over the context group. All else works on tokens
//! alone, so `forward` already counts a rank's tokens; attention needs the keys and values of all.
//!
//! | method | forward | backward |
//! |---|---|---|
//! | ring | keys and values go around | again, with their gradients behind them |
//! | all-to-all | sequences to heads, and back | the same for gradients |
//! | all-gather | keys and values are gathered | again, and their gradients are scattered |

use std::collections::BTreeMap;

use super::shard::scratch;
use crate::cluster::Group;
use crate::graph::{Collective, Op, OpGraph, OpKind, Shape, Storage, Tensor, TensorId};
use crate::scenario::{ContextMethod, Kernels, Strategy};

/// Lets every rank's queries meet all keys and values. Where nothing is fused, those of one rank are copied together.
pub fn context(mut graph: OpGraph, strategy: &Strategy) -> OpGraph {
    if strategy.context_parallel == 1 {
        return if strategy.kernels == Kernels::Eager { copied(graph) } else { graph };
    }
    let ops = std::mem::take(&mut graph.ops);
    let mut exchange = Exchange::new(graph, strategy.context_parallel);
    for op in ops {
        match (op.kind, strategy.context_method) {
            (OpKind::Attention | OpKind::AttentionGrad, ContextMethod::AllToAll) => exchange.by_heads(op),
            (OpKind::Attention, ContextMethod::Ring) => exchange.ring(&op),
            (OpKind::AttentionGrad, ContextMethod::Ring) => exchange.ring_gradient(&op),
            (OpKind::Attention, ContextMethod::AllGather) => exchange.gathered(&op),
            (OpKind::AttentionGrad, ContextMethod::AllGather) => exchange.gathered_gradient(&op),
            _ => exchange.graph.ops.push(op),
        }
    }
    exchange.graph
}

/// As if one rank had gathered keys and values: the copy stays for the backward pass.
fn copied(mut graph: OpGraph) -> OpGraph {
    let ops = std::mem::take(&mut graph.ops);
    let (mut exchange, mut copies) = (Exchange::new(graph, 1), BTreeMap::new());
    for op in ops {
        match op.kind {
            OpKind::Attention => {
                let kv = exchange.keys_values(&op);
                copies.insert(op.reads[0], kv);
                exchange.whole(&op, kv);
            }
            OpKind::AttentionGrad if copies.contains_key(&op.reads[0]) => {
                let kv = copies[&op.reads[0]];
                let dkv = exchange.whole_gradient(&op, kv);
                exchange.push(&op, OpKind::KeysValuesGrad, "keys and values", vec![dkv], vec![op.writes[0]]);
            }
            _ => exchange.graph.ops.push(op),
        }
    }
    exchange.graph
}

struct Exchange {
    graph: OpGraph,
    ranks: u32,
    /// Values of all tokens for some heads, by the value of some tokens for all heads.
    by_heads: BTreeMap<TensorId, TensorId>,
}

impl Exchange {
    fn new(graph: OpGraph, ranks: u32) -> Self {
        Self { graph, ranks, by_heads: BTreeMap::new() }
    }

    fn push(&mut self, like: &Op, kind: OpKind, what: &str, reads: Vec<TensorId>, writes: Vec<TensorId>) {
        let name = format!("{} {what}", like.name);
        self.graph.ops.push(Op { kind, name: name.into(), reads, writes, ..like.clone() });
    }

    fn collective(&mut self, like: &Op, collective: Collective, from: TensorId, to: Vec<TensorId>) {
        let kind = OpKind::Collective { collective, group: Group::Context };
        self.push(like, kind, &kind.class().replace('_', "-"), vec![from], to);
    }

    /// A value of its own with the format of `like`.
    fn value(&mut self, like: TensorId, what: &str, local: Shape) -> TensorId {
        let tensor = self.graph.tensor(like).clone();
        let name = format!("{} {what}", tensor.name);
        self.graph.add_tensor(Tensor { name: name.into(), shape: local, local, storage: Storage::Own, ..tensor })
    }

    fn local(&self, id: TensorId) -> Shape {
        self.graph.tensor(id).local
    }

    /// Columns of the keys and values in a fused projection: a group has as many queries as share a key, the key and
    /// the value.
    fn keys_values_shape(&self, qkv: TensorId) -> Shape {
        let (dims, shape) = (&self.graph.dims, self.local(qkv));
        let group = (dims.queries_per_group + 1) * dims.head_dim + dims.value_dim;
        Shape { cols: shape.cols / group.max(1) * (dims.head_dim + dims.value_dim), ..shape }
    }

    /// This rank's keys and values.
    fn keys_values(&mut self, op: &Op) -> TensorId {
        let qkv = op.reads[0];
        let kv = self.value(qkv, "keys and values", self.keys_values_shape(qkv));
        self.push(op, OpKind::KeysValues, "keys and values", vec![qkv], vec![kv]);
        kv
    }

    fn shift(&mut self, op: &Op, value: TensorId) -> TensorId {
        let next = self.value(value, "of the next", self.local(value));
        self.collective(op, Collective::Shift, value, vec![next]);
        next
    }

    /// A part is handed on while attention runs on it.
    fn ring(&mut self, op: &Op) {
        let mut kv = self.keys_values(op);
        for part in 0..self.ranks {
            let kind = OpKind::ContextAttention { parts: self.ranks, part };
            let next = (part + 1 < self.ranks).then(|| self.shift(op, kv));
            self.push(op, kind, &format!("part {part}"), vec![op.reads[0], kv], op.writes.clone());
            kv = next.unwrap_or(kv);
        }
    }

    /// Gradients of keys and values follow them around and come home with a last shift.
    fn ring_gradient(&mut self, op: &Op) {
        let ([qkv, out, lse, dout], [dqkv, delta]) = (&op.reads[..], &op.writes[..]) else { return };
        let mut kv = self.keys_values(op);
        let mut dkv = self.value(kv, "gradient", self.local(kv));
        for part in 0..self.ranks {
            let kind = OpKind::ContextAttentionGrad { parts: self.ranks, part };
            let next = (part + 1 < self.ranks).then(|| self.shift(op, kv));
            let reads = vec![*qkv, kv, *out, *lse, *dout];
            self.push(op, kind, &format!("part {part}"), reads, vec![*dqkv, dkv, *delta]);
            dkv = self.shift(op, dkv);
            kv = next.unwrap_or(kv);
        }
        self.push(op, OpKind::KeysValuesGrad, "keys and values", vec![dkv], vec![*dqkv]);
    }

    fn all_keys_values(&mut self, op: &Op) -> TensorId {
        let kv = self.keys_values(op);
        let Shape { rows, cols } = self.local(kv);
        let all = self.value(kv, "gathered", Shape::new(rows * self.ranks, cols));
        self.collective(op, Collective::AllGather, kv, vec![all]);
        all
    }

    fn gathered(&mut self, op: &Op) {
        let kv = self.all_keys_values(op);
        self.whole(op, kv);
    }

    /// Attention on all keys and values.
    fn whole(&mut self, op: &Op, kv: TensorId) {
        self.push(op, OpKind::ContextAttention { parts: 1, part: 0 }, "", vec![op.reads[0], kv], op.writes.clone());
    }

    /// Its gradient; returns that of the keys and values.
    fn whole_gradient(&mut self, op: &Op, kv: TensorId) -> TensorId {
        let dkv = self.value(kv, "gradient", self.local(kv));
        let reads = [&op.reads[..1], &[kv], &op.reads[1..]].concat();
        let writes = [&op.writes[..1], &[dkv], &op.writes[1..]].concat();
        self.push(op, OpKind::ContextAttentionGrad { parts: 1, part: 0 }, "", reads, writes);
        dkv
    }

    fn gathered_gradient(&mut self, op: &Op) {
        let (qkv, dqkv) = (&op.reads[0], &op.writes[0]);
        let kv = self.all_keys_values(op);
        let dkv = self.whole_gradient(op, kv);
        let own = self.value(dkv, "scattered", self.keys_values_shape(*qkv));
        let tensor = self.graph.tensor(dkv).clone();
        let chunk = scratch(&mut self.graph, &tensor, self.ranks);
        self.collective(op, Collective::ReduceScatter, dkv, vec![own, chunk]);
        self.push(op, OpKind::KeysValuesGrad, "keys and values", vec![own], vec![*dqkv]);
    }

    /// Attention as on one rank, of whole sequences and a part of the heads.
    fn by_heads(&mut self, mut op: Op) {
        let like = op.clone();
        op.reads = op.reads.iter().map(|&id| self.exchange_heads(&like, id)).collect();
        op.writes = op.writes.iter().map(|&id| self.heads_of(id)).collect();
        let written = op.writes[0];
        self.graph.ops.push(op);
        self.collective(&like, Collective::AllToAll, written, vec![like.writes[0]]);
    }

    /// The place of a value that is spread by heads.
    fn heads_of(&mut self, id: TensorId) -> TensorId {
        if let Some(&there) = self.by_heads.get(&id) {
            return there;
        }
        let Shape { rows, cols } = self.local(id);
        let there = self.value(id, "by heads", Shape::new(rows * self.ranks, cols / self.ranks));
        self.by_heads.insert(id, there);
        there
    }

    /// The value spread by heads; exchanged where it is not there yet.
    fn exchange_heads(&mut self, like: &Op, id: TensorId) -> TensorId {
        let known = self.by_heads.contains_key(&id);
        let there = self.heads_of(id);
        if !known {
            self.collective(like, Collective::AllToAll, id, vec![there]);
        }
        there
    }
}
