//! Updates that need whole matrices, of what lies in flat slices.
//!
//! * Muon (Liu et al. 2025, "Moonlight", algorithm 1): a rank keeps the momentum of its slice, all gather the momenta in
//!   bf16, each makes its matrices orthogonal, and applies of the result what belongs to its slice.
//! * Adafactor (Shazeer & Stern 2018): the squares of a slice are summed by rows and columns, the sums are added up over
//!   the ranks that share the matrix, and each updates its slice by them. The sums are whole on every rank.

use super::flat::{Flat, Maker, Piece};
use crate::graph::{Collective, DType, Op, OpKind, Role, Shape, Storage, TensorId};
use crate::scenario::Optimizer;

/// The update of the slices of `flat` from their gradients to `master`.
pub(super) fn updates(make: &mut Maker<'_>, flat: &Flat, master: TensorId, name: &str) -> Vec<Op> {
    match flat.optimizer() {
        Optimizer::Muon => muon(make, flat, master, name),
        _ => adafactor(make, flat, master, name),
    }
}

fn muon(make: &mut Maker<'_>, flat: &Flat, master: TensorId, name: &str) -> Vec<Op> {
    let (whole, slice) = (make.whole(), make.slice());
    let moment = make.add(&format!("first moment slice of {name}"), slice, Role::Moment, DType::F32, Storage::Own);
    let directions = make.add(&format!("momenta of {name}"), whole, Role::Scratch, DType::Bf16, Storage::Own);
    let storage = Storage::Slice { of: directions };
    let own = make.add(&format!("momentum slice of {name}"), slice, Role::Scratch, DType::Bf16, storage);
    let matrices: Vec<TensorId> = flat.pieces.iter().map(|piece| direction(make, piece, directions)).collect();
    let mut ops = vec![flat.op(OpKind::Momentum, "slice momentum", flat.inputs(), vec![own, moment])];
    let gathered = std::iter::once(directions).chain(matrices.iter().copied()).collect();
    let gather = OpKind::Collective { collective: Collective::AllGather, group: flat.shard_group() };
    ops.push(flat.op(gather, "momenta all-gather", vec![own], gathered));
    for &matrix in &matrices {
        ops.push(flat.op(OpKind::Orthogonalize, "Newton-Schulz", vec![matrix], vec![matrix]));
    }
    let reads = std::iter::once(own).chain(flat.inputs().into_iter().skip(1)).chain(matrices).collect();
    ops.push(flat.op(flat.update_kind(), "slice update", reads, vec![master]));
    ops
}

/// The momentum of a piece, as the matrix that it is.
fn direction(make: &mut Maker<'_>, piece: &Piece, of: TensorId) -> TensorId {
    let gradient = make.tensor(piece.gradient).clone();
    let storage = Storage::View { of, offset: piece.offset };
    make.view(&gradient, &format!("momentum of {}", gradient.name), DType::Bf16, storage)
}

fn adafactor(make: &mut Maker<'_>, flat: &Flat, master: TensorId, name: &str) -> Vec<Op> {
    let sides = |piece: &Piece| {
        let gradient = make.tensor(piece.gradient);
        u64::from(gradient.local.rows) + u64::from(gradient.local.cols) * u64::from(make.matrices())
    };
    let count = flat.pieces.iter().map(sides).sum::<u64>();
    let shape = Shape::vector(u32::try_from(count).unwrap_or(u32::MAX));
    let moment = make.add(&format!("row and column sums of {name}"), shape, Role::Moment, DType::F32, Storage::Own);
    let sums = make.add(&format!("row and column squares of {name}"), shape, Role::Scratch, DType::F32, Storage::Own);
    let sum = flat.op(OpKind::FactorSums, "slice squares", vec![flat.gradient_slice], vec![sums]);
    let all_reduce = make.all_reduce(&format!("{name} squares"), sums, flat.shard_group(), make.ranks());
    let reads = flat.inputs().into_iter().chain([sums]).collect();
    let update = flat.op(flat.update_kind(), "slice update", reads, vec![master, moment]);
    vec![sum, all_reduce, update]
}
