//! Gradients that are summed in 16 bits reach the update in fp32: a copy of them all is made once they are reduced, from
//! which norm and rule read (Megatron-LM's `_copy_model_grads_to_main_grads`, DeepSpeed's `single_grad_partition`).

use std::collections::BTreeMap;

use super::StagePlan;
use crate::graph::{DType, Op, OpKind, Role, Storage, Tensor, TensorId};
use crate::trace::name;

/// Puts the copies before the first op of the update that reads them.
pub(super) fn copy_gradients(tensors: &mut Vec<Tensor>, plan: &mut StagePlan) {
    let mut copies: BTreeMap<TensorId, TensorId> = BTreeMap::new();
    for mut op in std::mem::take(&mut plan.update) {
        let short = op.reads.first().copied().filter(|&id| needs_single(&op) && is_short_gradient(tensors, id));
        if let Some(gradient) = short {
            let copy = *copies.entry(gradient).or_insert_with(|| {
                let cast = copy_of(tensors, gradient, &op);
                plan.update.push(cast);
                TensorId::new(tensors.len() - 1)
            });
            op.reads[0] = copy;
        }
        plan.update.push(op);
    }
}

/// What applies a gradient on the device, or measures it.
fn needs_single(op: &Op) -> bool {
    matches!(op.kind, OpKind::SumSquares { .. } | OpKind::Update { .. } | OpKind::Momentum | OpKind::FactorSums)
}

fn is_short_gradient(tensors: &[Tensor], id: TensorId) -> bool {
    let tensor = &tensors[id.index()];
    matches!(tensor.role, Role::Gradient | Role::Bucket) && matches!(tensor.dtype, DType::F16 | DType::Bf16)
}

/// The cast of a gradient into a tensor of its own, which is the newest.
fn copy_of(tensors: &mut Vec<Tensor>, gradient: TensorId, reader: &Op) -> Op {
    let tensor = tensors[gradient.index()].clone();
    let (name, role) = (name(&[&tensor.name, " in fp32"]), Role::GradientBuffer);
    tensors.push(Tensor { name: name.clone(), role, dtype: DType::F32, storage: Storage::Own, ..tensor });
    let writes = vec![TensorId::new(tensors.len() - 1)];
    Op { kind: OpKind::Cast, name, reads: vec![gradient], writes, ..reader.clone() }
}
