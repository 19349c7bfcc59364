//! Lays the gradients of a stage into flat buckets, and reduces each bucket over the replicas (Li et al. 2020,
//! "PyTorch Distributed", section 3.2).

use std::collections::{BTreeMap, BTreeSet};

use super::flat::Flat;
use super::{StagePlan, clear, zero};
use crate::cluster::Group;
use crate::graph::passes::shard::scratch_tensor;
use crate::graph::{Collective, DType, Op, OpKind, Part, Placement, Reduction, Role, Shape, Storage, Tensor, TensorId};
use crate::scenario::{Scenario, Strategy, ZeroStage};
use crate::trace::Phase;

/// Gradients start at multiples of this many elements, so that a kernel can bind a part of the bucket.
const ALIGNMENT: u64 = 64;

/// Columns of a bucket's shape; rows alone could not count the largest ones.
const BUCKET_COLS: u32 = 256;

/// A flat buffer of gradients.
pub(super) struct Bucket {
    pub id: TensorId,
    /// With the first element of each.
    pub gradients: Vec<(TensorId, u64)>,
    /// Elements so far.
    filled: u64,
    /// Elements of parameters with weight decay, which come first.
    pub decayed: u64,
    /// Index in the ops of the first that writes one of them.
    pub first_write: usize,
    /// Index of the last: after it all are complete.
    pub complete_after: usize,
}

/// Makes the gradients of `plan` views of buckets, in the order in which the backward pass completes them, and
/// reduces them; returns what is sharded.
pub(super) fn bucket(tensors: &mut Vec<Tensor>, plan: &mut StagePlan, scenario: &Scenario) -> Vec<Flat> {
    let strategy = scenario.strategy();
    let shared = shared(tensors, plan);
    let mut flats = Vec::new();
    for chunk in 0..plan.chunks.len() {
        let ops = plan.chunks[chunk].gradient_ops().to_vec();
        let layout = Layout::new(tensors, &plan.update, strategy);
        let buckets = assemble(tensors, &ops, &layout, |id| !shared.contains(id));
        clear_all(tensors, &mut plan.begin, &buckets, strategy);
        if strategy.shards_over_replicas() {
            let of_chunk = zero::shard(tensors, plan, chunk, buckets, strategy);
            clear_slices(tensors, &mut plan.begin, &of_chunk, strategy);
            flats.extend(of_chunk);
            continue;
        }
        if strategy.data_parallel == 1 {
            continue;
        }
        let reductions: Vec<_> = buckets
            .iter()
            .map(|bucket| (bucket.complete_after, reduction(tensors, bucket, strategy.data_parallel)))
            .collect();
        if strategy.overlap_gradients {
            plan.chunks[chunk].reduce_in_last(|ops| interleave(ops, reductions));
        } else {
            plan.update.splice(0..0, reductions.into_iter().map(|(_, op)| op));
        }
    }
    flats.extend(bucket_shared(tensors, plan, &shared, strategy));
    flats
}

fn bucket_shared(
    tensors: &mut Vec<Tensor>,
    plan: &mut StagePlan,
    shared: &BTreeSet<TensorId>,
    strategy: &Strategy,
) -> Vec<Flat> {
    let all: Vec<Op> = plan.chunks.iter().flat_map(|chunk| chunk.gradient_ops().to_vec()).collect();
    let layout = Layout::new(tensors, &plan.update, strategy);
    let buckets = assemble(tensors, &all, &layout, |id| shared.contains(id));
    clear_all(tensors, &mut plan.begin, &buckets, strategy);
    if strategy.shards_over_replicas() {
        let late = Strategy { overlap_gradients: false, ..strategy.clone() };
        return zero::shard(tensors, plan, 0, buckets, &late);
    }
    if strategy.data_parallel > 1 {
        let reductions: Vec<_> =
            buckets.iter().map(|bucket| reduction(tensors, bucket, strategy.data_parallel)).collect();
        plan.update.splice(0..0, reductions);
    }
    Vec::new()
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

/// Clears what is summed over the step; gradients of a micro-batch are cleared where they start.
fn clear_all(tensors: &[Tensor], begin: &mut Vec<Op>, buckets: &[Bucket], strategy: &Strategy) {
    if strategy.shards_over_replicas() && strategy.zero >= ZeroStage::Gradients {
        return;
    }
    for bucket in buckets {
        let like = template(&tensors[bucket.id.index()]);
        begin.push(clear(&like.name, bucket.id, &like));
    }
}

/// Clears the slices into which the gradients of micro-batches are summed.
fn clear_slices(tensors: &[Tensor], begin: &mut Vec<Op>, flats: &[Flat], strategy: &Strategy) {
    if strategy.zero < ZeroStage::Gradients {
        return;
    }
    for flat in flats {
        let like = template(&tensors[flat.gradient_slice.index()]);
        begin.push(clear(&like.name, flat.gradient_slice, &like));
    }
}

/// What decides which gradients lie in a bucket together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    /// Every rank of the tensor group has it whole: it counts in the norm by its share.
    replicated: bool,
    /// Of a tied embedding, whose slices must lie alike on two stages.
    tied: bool,
    /// Ranks of the tensor group hold terms of it, which the update sums.
    partial: bool,
    /// In stage 3 a unit's parameters come and go together.
    unit: Option<Part>,
}

/// How gradients are laid into buckets.
struct Layout {
    elements: u64,
    /// Elements of a bucket are a multiple of this.
    multiple: u64,
    kinds: BTreeMap<TensorId, Kind>,
    /// Gradients of parameters with weight decay: they come first in a bucket.
    decaying: BTreeSet<TensorId>,
}

impl Layout {
    fn new(tensors: &[Tensor], update: &[Op], strategy: &Strategy) -> Self {
        let elements = strategy.bucket.0.min(1 << 33) / 4;
        if !strategy.shards_over_replicas() {
            return Self {
                elements,
                multiple: u64::from(BUCKET_COLS),
                kinds: BTreeMap::new(),
                decaying: BTreeSet::new(),
            };
        }
        let whole_units = strategy.zero == ZeroStage::Parameters;
        let mut kinds: BTreeMap<TensorId, Kind> = BTreeMap::new();
        for op in update {
            let kind = op.reads.first().map(|&id| kinds.entry(id).or_default());
            match (op.kind, kind) {
                (OpKind::AdamW { .. }, Some(kind)) => {
                    let gradient = &tensors[op.reads[0].index()];
                    kind.replicated = strategy.tensor_parallel > 1 && gradient.placement == Placement::Replicate;
                    kind.unit = whole_units.then_some(gradient.part);
                }
                (OpKind::Collective { group: Group::TiedEmbedding, .. }, Some(kind)) => kind.tied = true,
                (OpKind::Collective { group: Group::Tensor, .. }, Some(kind)) => kind.partial = true,
                _ => {}
            }
        }
        let multiple = u64::from(BUCKET_COLS) * u64::from(strategy.sharding_group);
        let decays = |op: &&Op| matches!(op.kind, OpKind::AdamW { decayed, .. } if decayed > 0);
        let decaying = update.iter().filter(decays).map(|op| op.reads[0]).collect();
        Self { elements: if whole_units { u64::MAX } else { elements }, multiple, kinds, decaying }
    }

    fn kind(&self, gradient: TensorId) -> Kind {
        self.kinds.get(&gradient).copied().unwrap_or_default()
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

fn assemble(tensors: &mut Vec<Tensor>, ops: &[Op], layout: &Layout, wanted: impl Fn(&TensorId) -> bool) -> Vec<Bucket> {
    let mut buckets: Vec<Bucket> = Vec::new();
    let mut open: BTreeMap<Kind, usize> = BTreeMap::new();
    for (gradient, complete_after) in completed(tensors, ops).into_iter().filter(|(id, _)| wanted(id)) {
        let kind = layout.kind(gradient);
        let index = match open.get(&kind) {
            Some(&index) if buckets[index].filled < layout.elements => index,
            _ => {
                buckets.push(new_bucket(tensors, gradient));
                buckets.len() - 1
            }
        };
        open.insert(kind, index);
        let bucket = &mut buckets[index];
        bucket.gradients.push((gradient, 0));
        bucket.filled += padded(tensors, gradient);
        bucket.complete_after = bucket.complete_after.max(complete_after);
    }
    for bucket in &mut buckets {
        bucket.lay_out(tensors, layout);
        let writes = |op: &Op| op.writes.iter().any(|id| bucket.gradients.iter().any(|(gradient, _)| gradient == id));
        bucket.first_write = ops.iter().position(writes).unwrap_or(0);
    }
    buckets
}

/// Elements that a gradient takes in a bucket.
fn padded(tensors: &[Tensor], gradient: TensorId) -> u64 {
    tensors[gradient.index()].local.elements().next_multiple_of(ALIGNMENT)
}

impl Bucket {
    /// Gives every gradient its place, those with weight decay first.
    fn lay_out(&mut self, tensors: &mut [Tensor], layout: &Layout) {
        self.gradients.sort_by_key(|(gradient, _)| !layout.decaying.contains(gradient));
        let mut offset = 0;
        for (gradient, place) in &mut self.gradients {
            *place = offset;
            tensors[gradient.index()].storage = Storage::View { of: self.id, offset };
            offset += padded(tensors, *gradient);
            if layout.decaying.contains(gradient) {
                self.decayed = offset;
            }
        }
        let rows = offset.next_multiple_of(layout.multiple) / u64::from(BUCKET_COLS);
        let shape = Shape::new(u32::try_from(rows).unwrap_or(u32::MAX), BUCKET_COLS);
        (tensors[self.id.index()].shape, tensors[self.id.index()].local) = (shape, shape);
    }
}

fn new_bucket(tensors: &mut Vec<Tensor>, like: TensorId) -> Bucket {
    let id = TensorId::new(tensors.len());
    let number = tensors.iter().filter(|tensor| tensor.name.starts_with("gradient bucket ")).count();
    let name = format!("gradient bucket {number}");
    let (placement, storage) = (Placement::Replicate, Storage::Own);
    let like = tensors[like.index()].clone();
    tensors.push(Tensor { name, role: Role::Bucket, dtype: DType::F32, placement, storage, ..like });
    Bucket { id, gradients: Vec::new(), filled: 0, decayed: 0, first_write: 0, complete_after: 0 }
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
    let both = || std::iter::once(bucket.id).chain(bucket.gradients.iter().map(|&(id, _)| id));
    Op {
        kind: OpKind::Collective { collective: Collective::AllReduce(Reduction::Sum), group: Group::Data },
        name: format!("{} all-reduce", tensor.name),
        part: Part::Head,
        phase: Phase::Update,
        reads: both().collect(),
        writes: both().take(1).chain([scratch]).chain(bucket.gradients.iter().map(|&(id, _)| id)).collect(),
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
