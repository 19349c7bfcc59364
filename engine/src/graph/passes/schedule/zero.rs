//! Shards optimizer state, gradients and parameters over replicas (Rajbhandari et al. 2020, "ZeRO", stages 1 to 3).
//!
//! The parameters and the gradients of a bucket lie flat beside each other, in the same order. Of each flat buffer a
//! rank owns the slice with its number in the sharding group: there it keeps the optimizer state, and updates.
//!
//! | stage | whole on every rank | slice on every rank |
//! |---|---|---|
//! | 1 | parameters, gradients | optimizer state |
//! | 2 | parameters | gradients, optimizer state |
//! | 3 | one layer's parameters while it runs | parameters, gradients, optimizer state |
//!
//! Where replicas form several sharding groups (hybrid sharding), reduced slices are summed over the groups.

use std::collections::BTreeMap;

use super::buckets::{Bucket, behind, last_gradient};
use super::flat::{Flat, Piece};
use super::{ChunkPlan, StagePlan, gathers};
use crate::cluster::Group;
use crate::graph::passes::shard::scratch_tensor;
use crate::graph::{Op, OpKind, Tensor, TensorId};
use crate::scenario::{Strategy, ZeroStage};

/// Shards what the buckets of a chunk hold; returns where everything lies.
pub(super) fn shard(
    tensors: &mut Vec<Tensor>,
    plan: &mut StagePlan,
    chunk: usize,
    buckets: Vec<Bucket>,
    strategy: &Strategy,
) -> Vec<Flat> {
    let mut flats = Vec::new();
    for bucket in buckets {
        let pieces = pieces(&plan.update, &bucket);
        flats.push(Flat::new(tensors, &bucket, pieces, strategy));
    }
    for flat in &flats {
        update(tensors, plan, flat, strategy);
    }
    let overlap = strategy.overlap_gradients;
    if !overlap {
        let last = last_gradient(tensors, plan.chunks[chunk].gradient_ops());
        for flat in &mut flats {
            flat.reductions = std::mem::take(&mut flat.reductions).into_iter().map(|op| behind(op, last)).collect();
        }
    }
    reduce(tensors, &mut plan.chunks[chunk], &flats, overlap, strategy);
    if strategy.zero == ZeroStage::Parameters {
        gathers::gather(tensors, &mut plan.chunks[chunk], &flats, strategy);
    } else {
        gather_whole(plan, &flats, strategy);
    }
    if strategy.zero == ZeroStage::OptimizerState && !overlap {
        let late: Vec<Op> = flats.iter().flat_map(|flat| flat.reductions.clone()).collect();
        plan.update.splice(0..0, late);
    }
    flats
}

/// The parameters of a bucket, with the ops of the update that are about each.
fn pieces(update: &[Op], bucket: &Bucket) -> Vec<Piece> {
    let adam: BTreeMap<TensorId, &Op> =
        update.iter().filter(|op| matches!(op.kind, OpKind::Update { .. })).map(|op| (op.reads[0], op)).collect();
    let casts: BTreeMap<TensorId, TensorId> =
        update.iter().filter(|op| op.kind == OpKind::Cast).map(|op| (op.reads[0], op.writes[0])).collect();
    let piece = |&(gradient, offset): &(TensorId, u64)| {
        let adam = adam.get(&gradient)?;
        let written = adam.writes[0];
        Some(Piece {
            gradient,
            parameter: casts.get(&written).copied().unwrap_or(written),
            offset,
            adam: (*adam).clone(),
        })
    };
    bucket.gradients.iter().filter_map(piece).collect()
}

/// Replaces the updates of single parameters by that of their slice.
fn update(tensors: &mut [Tensor], plan: &mut StagePlan, flat: &Flat, strategy: &Strategy) {
    let of_flat = |id: &TensorId| flat.pieces.iter().any(|piece| piece.gradient == *id || piece.adam.writes[0] == *id);
    sum_over_slices(plan, flat, &of_flat);
    let mut counted = false;
    plan.update.retain(|op| match op.kind {
        OpKind::SumSquares { .. } if of_flat(&op.reads[0]) => {
            counted = true;
            false
        }
        OpKind::Update { .. } | OpKind::Cast => !of_flat(&op.reads[0]),
        _ => true,
    });
    for op in &mut plan.update {
        // The tied embedding is alone in its bucket, so that its slices lie alike on both stages.
        if let OpKind::Collective { group: Group::TiedEmbedding, .. } = op.kind
            && of_flat(&op.reads[0])
        {
            op.reads[0] = flat.gradient_slice;
            op.writes[0] = flat.gradient_slice;
            // A slice may be filled up, so that its chunks are larger than those of the gradient.
            let slice = tensors[flat.gradient_slice.index()].clone();
            let chunk = scratch_tensor(&slice, slice.local, strategy.pipeline_parallel.min(2));
            tensors[op.writes[1].index()] = chunk;
        }
    }
    let norm = plan.update.iter().position(|op| matches!(op.kind, OpKind::Collective { group: Group::World, .. }));
    if counted {
        plan.update.insert(norm.unwrap_or(plan.update.len()), flat.sum_squares());
    }
    plan.update.extend(flat.updates.iter().cloned());
}

/// Replaces the sums of single gradients over the tensor group by that of the slice.
fn sum_over_slices(plan: &mut StagePlan, flat: &Flat, of_flat: &dyn Fn(&TensorId) -> bool) {
    let sums = |op: &Op| matches!(op.kind, OpKind::Collective { group: Group::Tensor, .. }) && of_flat(&op.reads[0]);
    if let Some(first) = plan.update.iter().position(sums) {
        plan.update[first] = flat.across_slices.clone();
        plan.update.retain(|op| !sums(op));
    }
}

/// Puts the reductions of gradients into the chunk's backward ops.
fn reduce(tensors: &[Tensor], chunk: &mut ChunkPlan, flats: &[Flat], overlap: bool, strategy: &Strategy) {
    let end = chunk.gradient_ops().len().saturating_sub(1);
    let after = |flat: &Flat| if overlap { flat.complete_after } else { end };
    let reduced = |index: usize| {
        flats.iter().filter(|flat| after(flat) == index).flat_map(|flat| flat.reductions.clone()).collect()
    };
    if strategy.zero == ZeroStage::OptimizerState {
        if overlap {
            chunk.reduce_in_last(|ops| insert(ops, &|_| Vec::new(), &reduced));
        }
        return;
    }
    // A flat gradient of a micro-batch lives from its first term until it is reduced and added to the slice.
    let before =
        |index: usize| flats.iter().filter(|flat| flat.first_write == index).map(|flat| flat.clear(tensors)).collect();
    let every = insert(chunk.gradient_ops(), &before, &reduced);
    if flats.iter().any(|flat| flat.across_groups.is_some()) {
        let last = |index: usize| {
            let done = flats.iter().filter(|flat| after(flat) == index);
            done.flat_map(|flat| flat.reductions.iter().cloned().chain(flat.across_groups.clone())).collect()
        };
        let with_groups = insert(chunk.gradient_ops(), &before, &last);
        chunk.reduce_in_last(|_| with_groups);
    }
    *chunk.gradient_ops_mut() = every;
}

/// `ops` with others before and after some of them.
fn insert(ops: &[Op], before: &dyn Fn(usize) -> Vec<Op>, after: &dyn Fn(usize) -> Vec<Op>) -> Vec<Op> {
    let with = |(index, op): (usize, &Op)| {
        before(index).into_iter().chain([op.clone()]).chain(after(index)).collect::<Vec<_>>()
    };
    ops.iter().enumerate().flat_map(with).collect()
}

/// Stages 1 and 2: updated slices are gathered at the end of the step, or at the start of the next one in the order
/// in which its forward needs them.
fn gather_whole(plan: &mut StagePlan, flats: &[Flat], strategy: &Strategy) {
    let gathers = flats.iter().rev().map(Flat::gather_parameters);
    if strategy.overlap_parameters {
        plan.begin.extend(gathers);
    } else {
        plan.update.extend(gathers);
    }
}
