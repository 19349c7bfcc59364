//! Lays the gradients of a stage into flat buckets, and reduces each bucket over the replicas (Li et al. 2020,
//! "PyTorch Distributed", section 3.2).

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use super::flat::Flat;
use super::{ChunkPlan, StagePlan, clear, zero};
use crate::cluster::Group;
use crate::graph::passes::shard::scratch_tensor;
use crate::graph::{
    ALLOCATION_ALIGNMENT, Collective, Dims, Op, OpKind, Part, Placement, Reduction, Role, Shape, Spread, Storage,
    Tensor, TensorId,
};
use crate::scenario::{Scenario, Strategy, ZeroStage};
use crate::trace::Phase;

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
    /// Whether they are of experts, which other ranks hold copies of than of dense weights.
    pub of_experts: bool,
    /// Whether they are updated by a rule for matrices.
    pub of_matrices: bool,
    /// Matrices that lie below each other in each of them.
    pub matrices: u32,
}

impl Bucket {
    /// Ranks that share what is sharded of it.
    pub fn sharding_group(&self, strategy: &Strategy) -> u32 {
        if self.of_experts { strategy.mesh().expert_shard() } else { strategy.sharding_group }
    }

    /// The ranks that hold copies of it, and how many they are.
    fn copies(&self, strategy: &Strategy) -> (Group, u32) {
        let group = if self.of_experts { Group::ExpertData } else { Group::Data };
        (group, strategy.mesh().group_size(group))
    }
}

/// Makes the gradients of `plan` views of buckets, in the order in which the backward pass completes them, and
/// reduces them; returns what is sharded. `chunks` are those of the stage, in the order in which they take their turns.
pub(super) fn bucket(
    tensors: &mut Vec<Tensor>,
    plan: &mut StagePlan,
    scenario: &Scenario,
    chunks: impl Iterator<Item = usize>,
) -> Vec<Flat> {
    let strategy = scenario.strategy();
    let (shared, experts) = (shared(tensors, plan), Dims::of(scenario).local_experts);
    let mut flats = Vec::new();
    for chunk in chunks {
        let ops = plan.chunks[chunk].gradient_ops().to_vec();
        let layout = Layout { experts, ..Layout::new(tensors, &plan.update, strategy) };
        let buckets = assemble(tensors, &ops, &layout, |id| !shared.contains(id));
        let (sharded, whole) = parted(buckets, strategy);
        clear_whole(tensors, &mut plan.begin, &whole);
        if !sharded.is_empty() {
            clear_sharded(tensors, &mut plan.begin, &sharded, strategy);
            let of_chunk = zero::shard(tensors, plan, chunk, sharded, strategy);
            clear_slices(tensors, &mut plan.begin, &of_chunk, strategy);
            flats.extend(of_chunk);
        }
        let reductions = reductions(tensors, &whole, &plan.chunks[chunk], strategy);
        if reductions.is_empty() {
            continue;
        }
        if strategy.overlap_gradients {
            plan.chunks[chunk].reduce_in_last(|ops| interleave(ops, reductions));
        } else {
            let last = last_gradient(tensors, plan.chunks[chunk].last_gradient_ops());
            plan.update.splice(0..0, reductions.into_iter().map(|(_, op)| behind(op, last)));
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
    if strategy.shards_over_replicas() {
        clear_sharded(tensors, &mut plan.begin, &buckets, strategy);
        let late = Strategy { overlap_gradients: false, ..strategy.clone() };
        return zero::shard(tensors, plan, 0, buckets, &late);
    }
    clear_whole(tensors, &mut plan.begin, &buckets);
    let reductions: Vec<_> = buckets.iter().filter_map(|bucket| reduction(tensors, bucket, strategy)).collect();
    plan.update.splice(0..0, reductions);
    Vec::new()
}

/// The gradient that the last of some ops to write one writes.
pub(super) fn last_gradient(tensors: &[Tensor], ops: &[Op]) -> Option<TensorId> {
    let gradient = |op: &Op| op.writes.iter().copied().find(|id| tensors[id.index()].role == Role::Gradient);
    ops.iter().rev().find_map(gradient)
}

/// A reduction that waits until the backward pass has ended. A stream of its own would let it start as soon as its
/// gradients are complete.
pub(super) fn behind(mut reduction: Op, last: Option<TensorId>) -> Op {
    if let Some(last) = last.filter(|last| !reduction.reads.contains(last)) {
        reduction.reads.push(last);
    }
    reduction
}

/// Buckets of which ranks share one copy, and those that stay whole: all without sharding, and those of experts that
/// no other rank has.
fn parted(buckets: Vec<Bucket>, strategy: &Strategy) -> (Vec<Bucket>, Vec<Bucket>) {
    let is_sharded = |bucket: &Bucket| strategy.shards_over_replicas() && bucket.sharding_group(strategy) > 1;
    buckets.into_iter().partition(is_sharded)
}

/// The reductions of whole buckets with the index of the op after which each may run, in that order.
fn reductions(tensors: &mut Vec<Tensor>, whole: &[Bucket], chunk: &ChunkPlan, strategy: &Strategy) -> Vec<(usize, Op)> {
    // Sharding may have put ops among those that write gradients.
    let ops = chunk.last_gradient_ops();
    let writers = writers(tensors, ops);
    let last = |bucket: &Bucket| {
        let last = bucket.gradients.iter().filter_map(|(id, _)| Some(writers.get(id)?.1)).max();
        last.unwrap_or(ops.len().saturating_sub(1))
    };
    let mut reductions: Vec<_> =
        whole.iter().filter_map(|bucket| Some((last(bucket), reduction(tensors, bucket, strategy)?))).collect();
    reductions.sort_by_key(|(after, _)| *after);
    reductions
}

/// Gradients to which several chunks of the stage contribute: a tied embedding whose head is here too. Which chunk
/// comes last is the schedule's choice, so they are reduced in the update.
fn shared(tensors: &[Tensor], plan: &StagePlan) -> BTreeSet<TensorId> {
    let mut seen = BTreeSet::new();
    let mut shared = BTreeSet::new();
    for chunk in &plan.chunks {
        let written: BTreeSet<TensorId> = writers(tensors, chunk.gradient_ops()).into_keys().collect();
        shared.extend(written.intersection(&seen));
        seen.extend(written);
    }
    shared
}

/// Clears what is summed over the step; gradients of a micro-batch are cleared where they start.
fn clear_sharded(tensors: &[Tensor], begin: &mut Vec<Op>, buckets: &[Bucket], strategy: &Strategy) {
    if strategy.zero < ZeroStage::Gradients {
        clear_whole(tensors, begin, buckets);
    }
}

fn clear_whole(tensors: &[Tensor], begin: &mut Vec<Op>, buckets: &[Bucket]) {
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
    /// Of experts, which other ranks hold copies of.
    of_experts: bool,
    /// Updated by a rule for matrices, others are not.
    matrices: bool,
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
    /// Elements of a bucket are a multiple of this: of dense weights, and of experts.
    multiple: [u64; 2],
    kinds: BTreeMap<TensorId, Kind>,
    /// Gradients of parameters with weight decay: they come first in a bucket.
    decaying: BTreeSet<TensorId>,
    /// Gradients and their parameters start at multiples of this many elements, so that a kernel can bind a part.
    alignment: u64,
    /// Experts of a rank, whose weights lie below each other.
    experts: u32,
}

impl Layout {
    fn new(tensors: &[Tensor], update: &[Op], strategy: &Strategy) -> Self {
        let elements = strategy.bucket.0.min(1 << 33) / strategy.gradient_size();
        let laid_out = tensors.iter().filter(|tensor| matches!(tensor.role, Role::Gradient | Role::Parameter));
        let alignment = ALLOCATION_ALIGNMENT / laid_out.map(|tensor| tensor.dtype.size()).min().unwrap_or(4);
        if !strategy.shards_over_replicas() {
            return Self {
                elements,
                multiple: [u64::from(BUCKET_COLS); 2],
                kinds: BTreeMap::new(),
                decaying: BTreeSet::new(),
                alignment,
                experts: 1,
            };
        }
        let whole_units = strategy.zero == ZeroStage::Parameters;
        let mut kinds: BTreeMap<TensorId, Kind> = BTreeMap::new();
        for op in update {
            let kind = op.reads.first().map(|&id| kinds.entry(id).or_default());
            match (op.kind, kind) {
                (OpKind::Update { optimizer, .. }, Some(kind)) => {
                    let gradient = &tensors[op.reads[0].index()];
                    kind.matrices = optimizer.needs_matrices() && gradient.shape.cols > 1;
                    kind.replicated = strategy.tensor_parallel > 1 && gradient.placement == Placement::Replicate;
                    kind.unit = whole_units.then_some(gradient.part);
                }
                (OpKind::Collective { group: Group::TiedEmbedding, .. }, Some(kind)) => kind.tied = true,
                (OpKind::Collective { group: Group::Tensor, .. }, Some(kind)) => kind.partial = true,
                _ => {}
            }
        }
        let groups = [strategy.sharding_group, strategy.mesh().expert_shard()];
        let multiple = groups.map(|group| u64::from(BUCKET_COLS) * u64::from(group));
        let decays = |op: &&Op| matches!(op.kind, OpKind::Update { decayed, .. } if decayed > 0);
        let decaying = update.iter().filter(decays).map(|op| op.reads[0]).collect();
        Self {
            elements: if whole_units { u64::MAX } else { elements },
            multiple,
            kinds,
            decaying,
            alignment,
            experts: 1,
        }
    }

    fn kind(&self, tensors: &[Tensor], gradient: TensorId) -> Kind {
        let of_experts = tensors[gradient.index()].spread == Spread::Experts;
        Kind { of_experts, ..self.kinds.get(&gradient).copied().unwrap_or_default() }
    }
}

/// The accumulators that the backward ops write, each with the index of the last op that does, in that order.
fn completed(writers: &Writers, backward: &[Op]) -> Vec<(TensorId, usize)> {
    let mut last: Vec<(TensorId, usize)> = Vec::new();
    for (index, op) in backward.iter().enumerate() {
        let is_last = |id: &TensorId| writers.get(id).is_some_and(|&(_, last)| last == index);
        last.extend(op.writes.iter().filter(|id| is_last(id)).map(|&id| (id, index)));
    }
    last
}

/// The accumulators that ops write, with the indices of the first and the last op that do.
type Writers = FxHashMap<TensorId, (usize, usize)>;

fn writers(tensors: &[Tensor], ops: &[Op]) -> Writers {
    let mut writers = Writers::default();
    for (index, op) in ops.iter().enumerate() {
        for &id in op.writes.iter().filter(|id| tensors[id.index()].role == Role::Gradient) {
            writers.entry(id).or_insert((index, index)).1 = index;
        }
    }
    writers
}

fn assemble(tensors: &mut Vec<Tensor>, ops: &[Op], layout: &Layout, wanted: impl Fn(&TensorId) -> bool) -> Vec<Bucket> {
    let mut buckets: Vec<Bucket> = Vec::new();
    let mut open: BTreeMap<Kind, usize> = BTreeMap::new();
    let writers = writers(tensors, ops);
    for (gradient, complete_after) in completed(&writers, ops).into_iter().filter(|(id, _)| wanted(id)) {
        let kind = layout.kind(tensors, gradient);
        let index = match open.get(&kind) {
            Some(&index) if buckets[index].filled < layout.elements => index,
            _ => {
                buckets.push(Bucket { of_matrices: kind.matrices, ..new_bucket(tensors, gradient) });
                buckets.len() - 1
            }
        };
        open.insert(kind, index);
        let bucket = &mut buckets[index];
        bucket.gradients.push((gradient, 0));
        bucket.filled += padded(tensors, gradient, layout.alignment);
        bucket.complete_after = bucket.complete_after.max(complete_after);
    }
    for bucket in &mut buckets {
        bucket.lay_out(tensors, layout);
        bucket.first_write = bucket.gradients.iter().filter_map(|(id, _)| Some(writers.get(id)?.0)).min().unwrap_or(0);
    }
    buckets
}

/// Elements that a gradient takes in a bucket.
fn padded(tensors: &[Tensor], gradient: TensorId, alignment: u64) -> u64 {
    tensors[gradient.index()].local.elements().next_multiple_of(alignment)
}

impl Bucket {
    /// Gives every gradient its place, those with weight decay first.
    fn lay_out(&mut self, tensors: &mut [Tensor], layout: &Layout) {
        self.matrices = if self.of_experts { layout.experts.max(1) } else { 1 };
        self.gradients.sort_by_key(|(gradient, _)| !layout.decaying.contains(gradient));
        let mut offset = 0;
        for (gradient, place) in &mut self.gradients {
            *place = offset;
            tensors[gradient.index()].storage = Storage::View { of: self.id, offset };
            offset += padded(tensors, *gradient, layout.alignment);
            if layout.decaying.contains(gradient) {
                self.decayed = offset;
            }
        }
        let multiple = layout.multiple[usize::from(self.of_experts)];
        let rows = offset.next_multiple_of(multiple) / u64::from(BUCKET_COLS);
        let shape = Shape::new(u32::try_from(rows).unwrap_or(u32::MAX), BUCKET_COLS);
        (tensors[self.id.index()].shape, tensors[self.id.index()].local) = (shape, shape);
    }
}

fn new_bucket(tensors: &mut Vec<Tensor>, like: TensorId) -> Bucket {
    let id = TensorId::new(tensors.len());
    // Buckets follow each other closely, so the last one is near the end.
    let last =
        tensors.iter().rev().find_map(|tensor| tensor.name.strip_prefix("gradient bucket ")?.parse::<u32>().ok());
    let name = format!("gradient bucket {}", last.map_or(0, |number| number + 1));
    let (placement, storage) = (Placement::Replicate, Storage::Own);
    let like = tensors[like.index()].clone();
    let of_experts = like.spread == Spread::Experts;
    tensors.push(Tensor { name: name.into(), role: Role::Bucket, placement, storage, ..like });
    Bucket {
        id,
        gradients: Vec::new(),
        filled: 0,
        decayed: 0,
        first_write: 0,
        complete_after: 0,
        of_experts,
        of_matrices: false,
        matrices: 1,
    }
}

fn template(bucket: &Tensor) -> Op {
    let (name, part) = (bucket.name.clone(), bucket.part);
    Op { kind: OpKind::Fill(0.0), name, part, phase: Phase::Update, reads: Vec::new(), writes: Vec::new() }
}

/// The all-reduce of a bucket of which there are copies. It reads and writes the gradients in it, so that they wait for
/// each other.
fn reduction(tensors: &mut Vec<Tensor>, bucket: &Bucket, strategy: &Strategy) -> Option<Op> {
    let (group, copies) = bucket.copies(strategy);
    if copies == 1 {
        return None;
    }
    let tensor = tensors[bucket.id.index()].clone();
    let scratch = TensorId::new(tensors.len());
    tensors.push(scratch_tensor(&tensor, tensor.local, copies));
    let both = || std::iter::once(bucket.id).chain(bucket.gradients.iter().map(|&(id, _)| id));
    Some(Op {
        kind: OpKind::Collective { collective: Collective::AllReduce(Reduction::Sum), group },
        name: format!("{} all-reduce", tensor.name).into(),
        part: Part::Head,
        phase: Phase::Update,
        reads: both().collect(),
        writes: both().take(1).chain([scratch]).chain(bucket.gradients.iter().map(|&(id, _)| id)).collect(),
    })
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
