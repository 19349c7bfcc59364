//! Kernels that make gradients smaller on their way to other replicas, and whole again (`exec::ops::compression`).

use super::{Calls, product};
use crate::cluster::ShaderRates;
use crate::graph::passes::schedule::{is_factored, is_piece};
use crate::graph::{CompressionStep, Op, Shape, Tensor, TensorId};

/// How often every element is read until the largest are known.
const SELECTED: f64 = 6.0;

/// Invocations that make columns orthogonal, and how often they wait for each other in a dot product of two columns.
const LANES: f64 = 256.0;
const WAITS: f64 = 11.0;

/// Operations that it takes an invocation to wait for the others: a device without hardware for that keeps its state and goes
/// on with the next.
const OF_WAIT: f64 = 40.0;

/// What the shaders make of a step of a compression.
pub(super) fn calls(rates: &ShaderRates, tensors: &[Tensor], op: &Op, step: CompressionStep) -> Calls {
    let elements = |ids: &[TensorId]| ids.first().map_or(0, |id| tensors[id.index()].local.elements());
    let (read, written) = (elements(&op.reads), elements(&op.writes));
    let each = |words: f64| Calls::of(written, written as f64 * words);
    let pieces = Pieces { rates, tensors, op };
    match step {
        CompressionStep::Narrow => each(2.0).reading(2.0 * read as f64),
        CompressionStep::Widen { parts } => each(1.0 + f64::from(parts)),
        // One workgroup finds the least of the largest, digit by digit.
        CompressionStep::Select => Calls { workgroups: 1, ..Calls::of(1, read as f64 * SELECTED) },
        CompressionStep::Scatter { ranks } => each(1.0 + 4.0 * f64::from(ranks)).times(1 + ranks),
        CompressionStep::Project { rank } => pieces.project(rank, read),
        CompressionStep::Reproject { rank } => {
            let of_piece = |shape: Shape| product(rates, [shape.cols, rank, shape.rows]);
            together(pieces.factored(&op.reads, rank).map(of_piece))
        }
        CompressionStep::Orthogonalize { rank } => {
            together(pieces.factored(&op.reads, rank).map(|shape| orthogonal(shape, rank)))
        }
        CompressionStep::Expand { rank, .. } => pieces.expand(rank),
    }
}

/// The gradients of a bucket.
struct Pieces<'a> {
    rates: &'a ShaderRates,
    tensors: &'a [Tensor],
    op: &'a Op,
}

impl Pieces<'_> {
    fn shapes<'a>(&'a self, ids: &'a [TensorId]) -> impl Iterator<Item = Shape> + 'a {
        ids.iter().map(|id| &self.tensors[id.index()]).filter(|tensor| is_piece(tensor)).map(|tensor| tensor.local)
    }

    fn factored<'a>(&'a self, ids: &'a [TensorId], rank: u32) -> impl Iterator<Item = Shape> + 'a {
        self.shapes(ids).filter(move |&shape| is_factored(shape, rank))
    }

    /// The bucket is added to what was not sent; matrices are multiplied, what else there is copied.
    fn project(&self, rank: u32, bucket: u64) -> Calls {
        let sum = Calls::of(bucket, 3.0 * bucket as f64);
        let of_piece = |shape: Shape| {
            if is_factored(shape, rank) { product(self.rates, [shape.rows, rank, shape.cols]) } else { copied(shape) }
        };
        together(std::iter::once(sum).chain(self.shapes(&self.op.reads).map(of_piece)))
    }

    /// Matrices are products of their factors, which are taken off what was not sent.
    fn expand(&self, rank: u32) -> Calls {
        let of_piece = |shape: Shape| {
            let whole = if is_factored(shape, rank) {
                product(self.rates, [shape.rows, shape.cols, rank])
            } else {
                copied(shape)
            };
            [whole, Calls::of(shape.elements(), 3.0 * shape.elements() as f64)]
        };
        together(self.shapes(&self.op.writes).flat_map(of_piece))
    }
}

fn copied(shape: Shape) -> Calls {
    Calls::of(shape.elements(), 2.0 * shape.elements() as f64)
}

/// A workgroup makes columns orthogonal: the length of each, then of each behind it what it shares with that one.
fn orthogonal(shape: Shape, rank: u32) -> Calls {
    let (rows, cols) = (f64::from(shape.rows), f64::from(rank));
    let pairs = cols * (cols + 1.0) / 2.0;
    Calls { workgroups: 1, ..Calls::of(1, pairs * rows * 5.0) }.with(pairs * LANES * WAITS * OF_WAIT)
}

/// One after the other.
fn together(all: impl Iterator<Item = Calls>) -> Calls {
    let none = Calls { count: 0, workgroups: 0, counted: true, ..Calls::of(1, 0.0) };
    let sum = all.fold(none, |sum, calls| Calls {
        count: sum.count + calls.count,
        workgroups: sum.workgroups + calls.workgroups,
        words: sum.words + calls.words,
        operations: sum.operations + calls.operations,
        products: sum.products + calls.products,
        ..sum
    });
    Calls { count: sum.count.max(1), workgroups: sum.workgroups.max(1), ..sum }
}
