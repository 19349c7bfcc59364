//! Rules by which gradients of other replicas reach the parameters: takes the reductions over replicas of a synchronous
//! step, and puts what the rule has in their place.

use std::collections::BTreeMap;

use super::compression::{lies_in, sums_copies};
use super::{StagePlan, clear};
use crate::cluster::Group;
use crate::graph::passes::shard::scratch_tensor;
use crate::graph::{Collective, DType, Op, OpKind, Reduction, Role, Shape, Storage, Tensor, TensorId};
use crate::scenario::{Scenario, Strategy, UpdateRule};
use crate::trace::Phase;

/// Applies the strategy's rule to a stage.
pub(super) fn apply(tensors: &mut Vec<Tensor>, plan: &mut StagePlan, scenario: &Scenario) {
    let strategy = scenario.strategy();
    match strategy.update {
        UpdateRule::Synchronous => {}
        UpdateRule::BoundedStaleness { steps } => stale(tensors, plan, steps),
        UpdateRule::Asynchronous => asynchronous(tensors, plan, strategy),
        UpdateRule::LocalSgd { interval } => local(tensors, plan, strategy, interval.is_some()),
    }
}

/// All lists of ops of a stage.
fn lists(plan: &mut StagePlan) -> impl Iterator<Item = &mut Vec<Op>> {
    let StagePlan { chunks, begin, update } = plan;
    let of_chunks = chunks.iter_mut().flat_map(|chunk| {
        let others = [&mut chunk.weight, &mut chunk.backward_last, &mut chunk.weight_last].into_iter().flatten();
        [&mut chunk.forward, &mut chunk.backward].into_iter().chain(others)
    });
    [begin, update].into_iter().chain(of_chunks)
}

/// Whether an op is the all-reduce of a bucket.
fn sums_buckets(tensors: &[Tensor], op: &Op) -> bool {
    let sum = Collective::AllReduce(Reduction::Sum);
    let of_bucket = |id: &TensorId| tensors[id.index()].role == Role::Bucket;
    matches!(op.kind, OpKind::Collective { collective, group } if collective == sum && sums_copies(group))
        && op.reads.first().is_some_and(of_bucket)
}

/// Takes the all-reduces of buckets out of all lists; the first of each bucket is kept.
fn take_sums(tensors: &[Tensor], plan: &mut StagePlan) -> Vec<Op> {
    let mut taken: BTreeMap<TensorId, Op> = BTreeMap::new();
    for list in lists(plan) {
        for op in list.iter().filter(|op| sums_buckets(tensors, op)) {
            taken.entry(op.reads[0]).or_insert_with(|| op.clone());
        }
        list.retain(|op| !sums_buckets(tensors, op));
    }
    taken.into_values().collect()
}

/// The sums of a step run beside the next one, on a second bucket: after every step the two change their places, which
/// costs nothing where tensors are pointers. With more than one step between, the update does not even wait for them.
fn stale(tensors: &mut Vec<Tensor>, plan: &mut StagePlan, steps: u32) {
    let mut earlier: BTreeMap<TensorId, TensorId> = BTreeMap::new();
    for sum in take_sums(tensors, plan) {
        let kept = tensors[sum.reads[0].index()].clone();
        let buckets: Vec<TensorId> = (1..=steps)
            .map(|age| {
                let name = format!("{} of {age} steps before", kept.name).into();
                add(tensors, Tensor { name, storage: Storage::Own, ..kept.clone() })
            })
            .collect();
        let (reduced, applied) = (buckets[0], buckets[buckets.len() - 1]);
        let mut writes = vec![reduced];
        writes.extend(sum.writes.iter().copied().filter(|id| tensors[id.index()].role == Role::Scratch));
        for &id in &sum.reads[1..] {
            let gradient = tensors[id.index()].clone();
            let Storage::View { of, offset } = gradient.storage else { continue };
            if of != sum.reads[0] {
                continue;
            }
            let view = |of| Tensor { storage: Storage::View { of, offset }, role: Role::Bucket, ..gradient.clone() };
            // The update reads the gradients, so it waits for them where they are those that were summed last.
            writes.push(add(tensors, view(reduced)));
            let last = TensorId::new(tensors.len() - 1);
            earlier.insert(id, if steps == 1 { last } else { add(tensors, view(applied)) });
        }
        let name = format!("{} older", kept.name).into();
        let reads = std::iter::once(sum.reads[0]).chain(buckets[..buckets.len() - 1].iter().copied()).collect();
        let (kind, phase) = (OpKind::Rotate, Phase::Update);
        plan.update.push(Op { kind, name, phase, reads, writes: buckets, ..sum.clone() });
        plan.begin.push(Op { reads: vec![reduced], writes, ..sum });
    }
    // Sums over the tensor group, or with the other copy of a tied embedding, are made in place: of the earlier ones too.
    for op in plan.update.iter_mut().filter(|op| op.kind != OpKind::Rotate) {
        for ids in [&mut op.reads, &mut op.writes] {
            *ids = ids.iter().map(|id| earlier.get(id).copied().unwrap_or(*id)).collect();
        }
    }
}

fn add(tensors: &mut Vec<Tensor>, tensor: Tensor) -> TensorId {
    tensors.push(tensor);
    TensorId::new(tensors.len() - 1)
}

/// Gradients are pushed to the owners of their slices, and parameters pulled from them; an owner keeps what each replica
/// pushes beside each other, applies one after the other, and nobody waits.
fn asynchronous(tensors: &mut Vec<Tensor>, plan: &mut StagePlan, strategy: &Strategy) {
    let pushes = strategy.copies();
    let mut pushed: BTreeMap<TensorId, TensorId> = BTreeMap::new();
    for list in lists(plan) {
        list.retain(|op| !matches!(op.kind, OpKind::Collective { group: Group::Data | Group::ExpertData, .. }));
        for op in list {
            op.kind = match op.kind {
                OpKind::Collective { collective: Collective::ReduceScatter, group } if shares_slices(group) => {
                    let slice = op.writes[0];
                    pushed.entry(slice).or_insert_with(|| slices_of_all(tensors, slice, pushes));
                    OpKind::Collective { collective: Collective::Push, group }
                }
                OpKind::Collective { collective: Collective::AllGather, group } if shares_slices(group) => {
                    OpKind::Collective { collective: Collective::Pull, group }
                }
                OpKind::Collective { collective, group: Group::World } => {
                    OpKind::Collective { collective, group: Group::Model }
                }
                OpKind::Update { optimizer, decayed, sliced, .. } => {
                    OpKind::Update { optimizer, decayed, sliced, times: pushes }
                }
                other => other,
            };
        }
    }
    for op in lists(plan).flatten() {
        for id in op.reads.iter_mut().chain(&mut op.writes) {
            *id = pushed.get(id).copied().unwrap_or(*id);
        }
        // Space for a chunk of a sum over other ranks of the replica, which is one of all slices now.
        let OpKind::Collective { group: group @ (Group::Tensor | Group::TiedEmbedding), .. } = op.kind else {
            continue;
        };
        let sums_slices = op.reads.first().is_some_and(|id| pushed.values().any(|of_all| of_all == id));
        if let Some(&chunk) = op.writes.get(1).filter(|_| sums_slices) {
            let whole = tensors[op.reads[0].index()].clone();
            tensors[chunk.index()] = scratch_tensor(&whole, whole.local, strategy.mesh().group_size(group));
        }
    }
}

/// Whether each rank of a group owns a slice; of experts these are as many, since every replica has all of them.
fn shares_slices(group: Group) -> bool {
    matches!(group, Group::Shard | Group::ExpertShard)
}

/// A slice of a bucket from every replica.
fn slices_of_all(tensors: &mut Vec<Tensor>, slice: TensorId, replicas: u32) -> TensorId {
    let tensor = tensors[slice.index()].clone();
    let shape = Shape::new(tensor.local.rows.saturating_mul(replicas), tensor.local.cols);
    let name = format!("{} of every replica", tensor.name).into();
    add(tensors, Tensor { name, shape, local: shape, storage: Storage::Own, ..tensor })
}

/// No replica hears of the others: losses stay where they are, and norms are summed over the ranks of one replica, or of
/// those that share one.
fn separate(plan: &mut StagePlan) {
    for list in lists(plan) {
        list.retain(|op| !matches!(op.kind, OpKind::Collective { group: Group::Data, .. }));
        let ops = std::mem::take(list);
        list.extend(ops.into_iter().flat_map(|op| match op.kind {
            OpKind::Collective { collective, group: Group::World } => {
                let over = |group| Op { kind: OpKind::Collective { collective, group }, ..op.clone() };
                vec![over(Group::Shard), over(Group::Model)]
            }
            _ => vec![op],
        }));
    }
}

/// Gradients stay with their replica. In a step with an outer one, the mean of what the replicas' parameters moved since
/// the last is the outer gradient, which Nesterov's momentum applies (Douillard et al. 2023, algorithm 1).
fn local(tensors: &mut Vec<Tensor>, plan: &mut StagePlan, strategy: &Strategy, outer: bool) {
    let sums = take_sums(tensors, plan);
    separate(plan);
    for sum in sums {
        if outer {
            let ops = outer_step(tensors, plan, &sum, strategy);
            let last = plan.update.iter().rposition(|op| matches!(op.kind, OpKind::Update { .. } | OpKind::Cast));
            let at = last.map_or(plan.update.len(), |last| last + 1);
            let late = plan.update.split_off(at);
            plan.update.extend(ops);
            plan.update.extend(late);
        }
    }
}

/// The outer step of the parameters whose gradients `sum` would have summed. What belongs to a parameter is a view of what
/// belongs to all of them, with its gradient's place.
fn outer_step(tensors: &mut Vec<Tensor>, plan: &StagePlan, sum: &Op, strategy: &Strategy) -> Vec<Op> {
    let bucket = tensors[sum.reads[0].index()].clone();
    let belongs = |id: TensorId| id == sum.reads[0] || lies_in(&tensors[id.index()], sum.reads[0]);
    let updated: Vec<&Op> =
        plan.update.iter().filter(|op| matches!(op.kind, OpKind::Update { .. }) && belongs(op.reads[0])).collect();
    let masters: Vec<TensorId> = updated.iter().map(|op| op.writes[0]).collect();
    let cast = |master: &TensorId| {
        let cast = plan.update.iter().find(|op| op.kind == OpKind::Cast && op.reads[0] == *master);
        cast.map(|op| op.writes[0])
    };
    let copies: Vec<TensorId> = masters.iter().filter_map(cast).collect();
    let name = bucket.name.trim_start_matches("gradient ").to_owned();
    let mut tensor = |what: &str, role: Role| {
        let name = format!("{what} of {name}");
        let (dtype, storage) = (DType::F32, Storage::Own);
        let of = add(tensors, Tensor { name: name.into(), role, dtype, storage, ..bucket.clone() });
        let view = |op: &&Op| {
            let master = tensors[op.writes[0].index()].clone();
            let offset = match tensors[op.reads[0].index()].storage {
                Storage::View { offset, .. } => offset,
                _ => 0,
            };
            let name = format!("{what} of {}", master.name).into();
            add(tensors, Tensor { name, role, dtype, storage: Storage::View { of, offset }, ..master })
        };
        let views: Vec<TensorId> = updated.iter().map(view).collect();
        (of, views)
    };
    let (anchor, anchors) = tensor("outer parameters", Role::MasterWeight);
    let (momentum, momenta) = tensor("outer momentum", Role::Moment);
    let (delta, deltas) = tensor("outer gradient", Role::GradientBuffer);
    let OpKind::Collective { group, .. } = sum.kind else { return Vec::new() };
    let replicas = strategy.mesh().group_size(group);
    let whole = tensors[delta.index()].clone();
    let scratch = add(tensors, scratch_tensor(&whole, whole.local, replicas));
    let op = |kind: OpKind, what: &str, reads: Vec<TensorId>, writes: Vec<TensorId>| Op {
        kind,
        name: format!("{name} {what}").into(),
        phase: Phase::Update,
        reads,
        writes,
        ..clear(&name, delta, sum)
    };
    let with_views = || [&[delta][..], &deltas].concat();
    let reduced = [&[delta, scratch][..], &deltas].concat();
    let moved = [vec![anchor, momentum], anchors.clone(), momenta, masters.clone(), copies].concat();
    vec![
        op(OpKind::OuterGradient, "outer gradient", [anchors, masters].concat(), with_views()),
        op(sum.kind, "outer all-reduce", with_views(), reduced),
        op(OpKind::OuterStep { replicas }, "outer step", with_views(), moved),
    ]
}
