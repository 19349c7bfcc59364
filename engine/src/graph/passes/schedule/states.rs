//! What an optimizer needs of a rank's part of a parameter, whose size is known once the parameter is cut: scales of its
//! blocks, and room for the products of Muon's iterations.

use super::StagePlan;
use crate::graph::passes::optimize::StateLayout;
use crate::graph::{DType, Dims, OpKind, Placement, Role, Shape, Spread, Storage, Tensor, TensorId};
use crate::scenario::Optimizer;

/// Fits the states of all updates of a stage to the rank's parts.
pub(super) fn fit(tensors: &mut Vec<Tensor>, plan: &mut StagePlan, dims: &Dims) {
    for op in &mut plan.update {
        match (op.kind, &op.writes[..]) {
            (OpKind::Update { optimizer: Optimizer::Adam8Bit, sliced: false, .. }, &[parameter, _, _, scales]) => {
                let shape = StateLayout::Blocks.shape(tensors[parameter.index()].local, 1);
                let scales = &mut tensors[scales.index()];
                (scales.shape, scales.local, scales.placement) = (shape, shape, Placement::Replicate);
            }
            (OpKind::Update { optimizer: Optimizer::Muon, sliced: false, .. }, _) | (OpKind::Orthogonalize, _) => {
                let room = products(tensors, op.writes[0], dims);
                op.writes.extend(room);
            }
            _ => {}
        }
    }
}

/// The matrices that lie below each other in a rank's part: one of every expert that it has.
pub fn matrices(tensor: &Tensor, dims: &Dims) -> u32 {
    if tensor.spread == Spread::Experts { dims.local_experts.max(1) } else { 1 }
}

/// Room for an iteration: the product of a matrix with itself, the square of that, and their product with the matrix.
fn products(tensors: &mut Vec<Tensor>, of: TensorId, dims: &Dims) -> [TensorId; 3] {
    let tensor = tensors[of.index()].clone();
    let (count, Shape { rows, cols }) = (matrices(&tensor, dims), tensor.local);
    let side = (rows / count).min(cols);
    let square = Shape::new(side * count, side);
    [("gram matrix", square), ("square of the gram matrix", square), ("product", tensor.local)].map(|(what, shape)| {
        let name = format!("{what} of {}", tensor.name).into();
        let (role, placement, storage, dtype) = (Role::Scratch, Placement::Replicate, Storage::Own, DType::Bf16);
        tensors.push(Tensor {
            name,
            shape,
            local: shape,
            role,
            placement,
            storage,
            dtype,
            spread: Spread::Tensor,
            ..tensor.clone()
        });
        TensorId::new(tensors.len() - 1)
    })
}
