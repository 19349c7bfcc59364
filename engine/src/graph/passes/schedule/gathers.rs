//! ZeRO stage 3: a unit's parameters are gathered before its first op needs them and dropped behind its last, once
//! in the forward and again in the backward (Rajbhandari et al. 2020, section 5.3; Zhao et al. 2023, "PyTorch FSDP").

use std::collections::BTreeMap;

use super::ChunkPlan;
use super::flat::Flat;
use crate::graph::{Op, OpKind, Role, Storage, Tensor, TensorId};
use crate::scenario::Strategy;
use crate::trace::Phase;

/// Puts the gathers into a chunk's forward and backward ops.
pub(super) fn gather(tensors: &mut Vec<Tensor>, chunk: &mut ChunkPlan, flats: &[Flat], strategy: &Strategy) {
    let prefetch = strategy.prefetch as usize;
    let units: Vec<Unit> = flats.iter().map(|flat| Unit::new(tensors, flat, false)).collect();
    chunk.forward = with_gathers(tensors, std::mem::take(&mut chunk.forward), &units, prefetch);
    if !strategy.reshard_after_forward {
        return;
    }
    // What the forward used last the backward needs first: it stays, as FSDP keeps its root and last block.
    let last_used = |flat: &&Flat| {
        let uses = |op: &Op| flat.pieces.iter().any(|piece| op.reads.contains(&piece.parameter));
        chunk.forward.iter().rposition(uses)
    };
    let kept = flats.iter().max_by_key(last_used).map(|flat| flat.gradient);
    let dropped = flats.iter().filter(|flat| Some(flat.gradient) != kept);
    let again: Vec<Unit> = dropped.map(|flat| Unit::new(tensors, flat, true)).collect();
    let last = chunk.backward_last.take();
    chunk.backward = with_gathers(tensors, std::mem::take(&mut chunk.backward), &again, prefetch);
    chunk.backward_last = last.map(|ops| with_gathers(tensors, ops, &again, prefetch));
}

/// The parameters of a flat buffer as one pass of a micro-batch sees them.
struct Unit<'a> {
    flat: &'a Flat,
    whole: TensorId,
    /// What stands for each parameter.
    views: BTreeMap<TensorId, TensorId>,
    phase: Phase,
}

impl<'a> Unit<'a> {
    fn new(tensors: &mut Vec<Tensor>, flat: &'a Flat, again: bool) -> Self {
        let bucket = tensors[flat.gradient.index()].clone();
        let dtype = tensors[flat.parameter_slice.index()].dtype;
        let whole = TensorId::new(tensors.len());
        let name = format!("gathered parameters of {}", bucket.name.trim_start_matches("gradient "));
        tensors.push(Tensor { name: name.into(), role: Role::ParameterBuffer, dtype, storage: Storage::Own, ..bucket });
        let mut views = BTreeMap::new();
        for piece in &flat.pieces {
            let storage = Storage::View { of: whole, offset: piece.offset };
            let view = if again {
                let tensor = tensors[piece.parameter.index()].clone();
                tensors.push(Tensor { storage, ..tensor });
                TensorId::new(tensors.len() - 1)
            } else {
                tensors[piece.parameter.index()].storage = storage;
                piece.parameter
            };
            views.insert(piece.parameter, view);
        }
        Self { flat, whole, views, phase: if again { Phase::Backward } else { Phase::Forward } }
    }

    fn gather(&self, after: Option<TensorId>) -> Op {
        let name = if self.phase == Phase::Forward { "parameters all-gather" } else { "parameters all-gather again" };
        let writes = std::iter::once(self.whole).chain(self.views.values().copied()).collect();
        Op { phase: self.phase, ..self.flat.gather_into(name, after.into_iter().collect(), writes) }
    }
}

/// Each unit's gather stands before the first op of the unit that comes `prefetch` units earlier, and waits until that
/// op's input is there: so that no more than `prefetch` units are gathered ahead.
fn with_gathers(tensors: &[Tensor], ops: Vec<Op>, units: &[Unit<'_>], prefetch: usize) -> Vec<Op> {
    let mut first_use: Vec<(usize, usize)> = Vec::new();
    for (number, unit) in units.iter().enumerate() {
        let uses = |op: &Op| op.reads.iter().any(|id| unit.views.contains_key(id));
        first_use.extend(ops.iter().position(uses).map(|at| (at, number)));
    }
    first_use.sort_unstable();
    let mut gathers: BTreeMap<usize, Vec<Op>> = BTreeMap::new();
    for (order, &(_, number)) in first_use.iter().enumerate() {
        let at = if order < prefetch { 0 } else { first_use[order - prefetch].0 };
        let waits_for = ops.get(at).and_then(|op| op.reads.iter().find(|id| is_computed(tensors, **id)).copied());
        gathers.entry(at).or_default().push(units[number].gather(waits_for));
    }
    let mut result = Vec::with_capacity(ops.len() + units.len());
    for (index, mut op) in ops.into_iter().enumerate() {
        result.extend(gathers.remove(&index).into_iter().flatten());
        if !matches!(op.kind, OpKind::Collective { .. }) {
            for id in &mut op.reads {
                *id = units.iter().find_map(|unit| unit.views.get(id)).copied().unwrap_or(*id);
            }
        }
        result.push(op);
    }
    result
}

fn is_computed(tensors: &[Tensor], id: TensorId) -> bool {
    matches!(tensors[id.index()].role, Role::Activation | Role::Input)
}
