//! Lays the gradients of a stage into flat buckets, and reduces each bucket over the replicas (Li et al. 2020,
//! "PyTorch Distributed", section 3.2).

use std::collections::BTreeSet;

use super::{StagePlan, clear};
use crate::cluster::Group;
use crate::graph::passes::shard::scratch_tensor;
use crate::graph::{Collective, DType, Op, OpKind, Part, Placement, Reduction, Role, Shape, Storage, Tensor, TensorId};
use crate::scenario::Scenario;
use crate::trace::Phase;

/// Gradients start at multiples of this many elements, so that a kernel can bind a part of the bucket.
const ALIGNMENT: u64 = 64;

/// Columns of a bucket's shape; rows alone could not count the largest ones.
const BUCKET_COLS: u32 = 256;

struct Bucket {
    id: TensorId,
    gradients: Vec<TensorId>,
    /// Index in the backward ops after which all of its gradients are complete.
    complete_after: usize,
}

/// Makes the gradients of `plan` views of buckets, in the order in which the backward pass completes them.
pub(super) fn bucket(tensors: &mut Vec<Tensor>, plan: &mut StagePlan, scenario: &Scenario) {
    let strategy = scenario.strategy();
    let shared = shared(tensors, plan);
    for chunk in &mut plan.chunks {
        let own = |id: &TensorId| !shared.contains(id);
        let buckets = assemble(tensors, chunk.gradient_ops(), strategy.bucket.0.min(1 << 33) / 4, own);
        clear_all(tensors, &mut plan.begin, &buckets);
        if strategy.data_parallel == 1 {
            continue;
        }
        let reductions: Vec<_> = buckets
            .iter()
            .map(|bucket| (bucket.complete_after, reduction(tensors, bucket, strategy.data_parallel)))
            .collect();
        if strategy.overlap_gradients {
            chunk.reduce_in_last(|ops| interleave(ops, reductions));
        } else {
            plan.update.splice(0..0, reductions.into_iter().map(|(_, op)| op));
        }
    }
    let all: Vec<Op> = plan.chunks.iter().flat_map(|chunk| chunk.gradient_ops().to_vec()).collect();
    let buckets = assemble(tensors, &all, u64::MAX, |id| shared.contains(id));
    clear_all(tensors, &mut plan.begin, &buckets);
    if strategy.data_parallel > 1 {
        let reductions: Vec<_> =
            buckets.iter().map(|bucket| reduction(tensors, bucket, strategy.data_parallel)).collect();
        plan.update.splice(0..0, reductions);
    }
}

/// Gradients to which several chunks of the stage contribute: a tied embedding whose head is here too. Which chunk
/// comes last is the schedule's choice, so they are reduced in the update.
fn shared(tensors: &[Tensor], plan: &StagePlan) -> BTreeSet<TensorId> {
    let mut seen = BTreeSet::new();
    let mut shared = BTreeSet::new();
    for chunk in &plan.chunks {
        let written: BTreeSet<TensorId> =
            completed(tensors, chunk.gradient_ops()).into_iter().map(|(id, _)| id).collect();
        shared.extend(written.intersection(&seen));
        seen.extend(written);
    }
    shared
}

fn clear_all(tensors: &[Tensor], begin: &mut Vec<Op>, buckets: &[Bucket]) {
    for bucket in buckets {
        let like = template(&tensors[bucket.id.index()]);
        begin.push(clear(&like.name, bucket.id, &like));
    }
}

/// The accumulators that the backward ops write, each with the index of the last op that does, in that order.
fn completed(tensors: &[Tensor], backward: &[Op]) -> Vec<(TensorId, usize)> {
    let mut last: Vec<(TensorId, usize)> = Vec::new();
    for (index, op) in backward.iter().enumerate() {
        for &id in op.writes.iter().filter(|id| tensors[id.index()].role == Role::Gradient) {
            last.retain(|&(other, _)| other != id);
            last.push((id, index));
        }
    }
    last
}

fn assemble(
    tensors: &mut Vec<Tensor>,
    ops: &[Op],
    elements_per_bucket: u64,
    wanted: impl Fn(&TensorId) -> bool,
) -> Vec<Bucket> {
    let mut buckets: Vec<Bucket> = Vec::new();
    let mut filled = 0_u64;
    for (gradient, complete_after) in completed(tensors, ops).into_iter().filter(|(id, _)| wanted(id)) {
        if buckets.is_empty() || filled >= elements_per_bucket {
            buckets.push(new_bucket(tensors, gradient, buckets.len()));
            filled = 0;
        }
        let Some(bucket) = buckets.last_mut() else { continue };
        tensors[gradient.index()].storage = Storage::View { of: bucket.id, offset: filled };
        filled += tensors[gradient.index()].local.elements().next_multiple_of(ALIGNMENT);
        bucket.gradients.push(gradient);
        bucket.complete_after = complete_after;
        let rows = u32::try_from(filled.div_ceil(u64::from(BUCKET_COLS))).unwrap_or(u32::MAX);
        let shape = Shape::new(rows, BUCKET_COLS);
        (tensors[bucket.id.index()].shape, tensors[bucket.id.index()].local) = (shape, shape);
    }
    buckets
}

fn new_bucket(tensors: &mut Vec<Tensor>, like: TensorId, index: usize) -> Bucket {
    let id = TensorId::new(tensors.len());
    let name = format!("gradient bucket {index}");
    let (placement, storage) = (Placement::Replicate, Storage::Own);
    let like = tensors[like.index()].clone();
    tensors.push(Tensor { name, role: Role::Bucket, dtype: DType::F32, placement, storage, ..like });
    Bucket { id, gradients: Vec::new(), complete_after: 0 }
}

fn template(bucket: &Tensor) -> Op {
    let (name, part) = (bucket.name.clone(), bucket.part);
    Op { kind: OpKind::Fill(0.0), name, part, phase: Phase::Update, reads: Vec::new(), writes: Vec::new() }
}

/// The all-reduce of a bucket. It reads and writes the gradients in it, so that they wait for each other.
fn reduction(tensors: &mut Vec<Tensor>, bucket: &Bucket, replicas: u32) -> Op {
    let tensor = tensors[bucket.id.index()].clone();
    let scratch = TensorId::new(tensors.len());
    tensors.push(scratch_tensor(&tensor, tensor.local, replicas));
    let both = || std::iter::once(bucket.id).chain(bucket.gradients.iter().copied());
    Op {
        kind: OpKind::Collective { collective: Collective::AllReduce(Reduction::Sum), group: Group::Data },
        name: format!("{} all-reduce", tensor.name),
        part: Part::Head,
        phase: Phase::Update,
        reads: both().collect(),
        writes: both().take(1).chain([scratch]).chain(bucket.gradients.iter().copied()).collect(),
    }
}

/// Backward ops with each reduction right behind the op that completes its bucket.
fn interleave(backward: &[Op], reductions: Vec<(usize, Op)>) -> Vec<Op> {
    let mut reductions = reductions.into_iter().peekable();
    let mut ops = Vec::with_capacity(backward.len() + reductions.len());
    for (index, op) in backward.iter().enumerate() {
        ops.push(op.clone());
        while let Some((_, reduction)) = reductions.next_if(|(after, _)| *after == index) {
            ops.push(reduction);
        }
    }
    ops
}
