//! Optimizer state, and with it parameters, outside the device: gradients go to the host, the host updates, parameters
//! come back (Ren et al. 2021, "ZeRO-Offload"; Rajbhandari et al. 2021, "ZeRO-Infinity").

use super::StagePlan;
use crate::graph::{Collective, Op, OpKind, Role, Storage, Tensor, TensorId};
use crate::scenario::{Place, Strategy};

/// Moves what the strategy moves.
pub(super) fn offload(tensors: &mut Vec<Tensor>, plan: &mut StagePlan, strategy: &Strategy) {
    if strategy.offload_optimizer == Place::Device {
        return;
    }
    let mut casts: Vec<Op> = plan.update.iter().filter(|op| op.kind == OpKind::Cast).cloned().collect();
    let mut update = Vec::with_capacity(plan.update.len());
    for op in std::mem::take(&mut plan.update) {
        match op.kind {
            OpKind::Update { .. } => {
                let cast = casts.iter().position(|cast| cast.reads[0] == op.writes[0]).map(|at| casts.swap_remove(at));
                update.extend(host_update(tensors, &op, cast.as_ref(), strategy));
            }
            // The host casts what it has updated.
            OpKind::Cast if is_master(tensors, op.reads[0]) => {}
            _ => update.push(op),
        }
    }
    plan.update = update;
    if strategy.offload_parameters != Place::Device {
        fetch_slices(tensors, plan, strategy.offload_parameters);
    }
}

fn is_master(tensors: &[Tensor], id: TensorId) -> bool {
    tensors[id.index()].role == Role::MasterWeight
}

fn add(tensors: &mut Vec<Tensor>, tensor: Tensor) -> TensorId {
    tensors.push(tensor);
    TensorId::new(tensors.len() - 1)
}

/// The gradient's way to the host, the update there, and the parameter's way back unless it stays.
fn host_update(tensors: &mut Vec<Tensor>, op: &Op, cast: Option<&Op>, strategy: &Strategy) -> Vec<Op> {
    let OpKind::Update { optimizer, decayed, sliced, .. } = op.kind else { return Vec::new() };
    let place = strategy.offload_optimizer;
    let gradient = tensors[op.reads[0].index()].clone();
    let there = Tensor {
        name: format!("{} on the host", gradient.name).into(),
        role: Role::Scratch,
        place: Place::Host,
        storage: Storage::Own,
        ..gradient
    };
    let there = add(tensors, there);
    let parameter = cast.map_or(op.writes[0], |cast| cast.writes[0]);
    let mut state = op.writes.clone();
    if !is_master(tensors, state[0]) {
        // In fp32 the parameter itself is updated: the host has a copy.
        let tensor = tensors[parameter.index()].clone();
        let (name, role) = (format!("master of {}", tensor.name).into(), Role::MasterWeight);
        state[0] = add(tensors, Tensor { name, role, storage: Storage::Own, ..tensor });
    }
    for id in &state {
        tensors[id.index()].place = place;
    }
    let stays = strategy.offload_parameters != Place::Device;
    let kind = OpKind::HostUpdate { optimizer, place, decayed, sliced };
    let step = |kind, what: &str, reads: Vec<TensorId>, writes: Vec<TensorId>| Op {
        kind,
        name: format!("{}{what}", op.name).into(),
        reads,
        writes,
        ..op.clone()
    };
    let reads = std::iter::once(there).chain(op.reads[1..].iter().copied()).collect();
    let written = if stays { [state.clone(), vec![parameter]].concat() } else { state.clone() };
    let mut ops =
        vec![step(OpKind::ToHost, " gradient to host", vec![op.reads[0]], vec![there]), step(kind, "", reads, written)];
    if !stays {
        ops.push(step(OpKind::FromHost, " parameter from host", vec![state[0]], vec![parameter]));
    }
    ops
}

/// Slices of parameters live outside the device, and are fetched before they are gathered.
fn fetch_slices(tensors: &mut Vec<Tensor>, plan: &mut StagePlan, place: Place) {
    for chunk in &mut plan.chunks {
        let others = [&mut chunk.weight, &mut chunk.backward_last, &mut chunk.weight_last].into_iter().flatten();
        for list in [&mut chunk.forward, &mut chunk.backward].into_iter().chain(others) {
            let ops = std::mem::take(list);
            list.extend(ops.into_iter().flat_map(|op| fetched(tensors, op, place)));
        }
    }
}

/// The gather of a slice with the copy before it.
fn fetched(tensors: &mut Vec<Tensor>, mut op: Op, place: Place) -> Vec<Op> {
    let gathers = matches!(op.kind, OpKind::Collective { collective: Collective::AllGather, .. });
    let slice = op.reads.first().copied().filter(|id| tensors[id.index()].role == Role::ParameterBucket);
    let Some(slice) = slice.filter(|_| gathers) else { return vec![op] };
    tensors[slice.index()].place = place;
    let tensor = tensors[slice.index()].clone();
    let (name, role) = (format!("{} fetched", tensor.name), Role::ParameterBuffer);
    let here = add(tensors, Tensor { name: name.clone().into(), role, place: Place::Device, ..tensor });
    let fetch = Op {
        kind: OpKind::FromHost,
        name: name.into(),
        reads: op.reads.clone(),
        writes: vec![here],
        phase: op.phase,
        part: op.part,
    };
    op.reads = vec![here];
    vec![fetch, op]
}
