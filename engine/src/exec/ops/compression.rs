//! What makes gradients smaller on their way to other replicas, and whole again.

use super::{Call, elements};
use crate::exec::Dispatch;
use crate::exec::collectives::copy;
use crate::exec::cpu::blend::BlendParams;
use crate::exec::cpu::fill::FillParams;
use crate::exec::cpu::matmul::MatmulParams;
use crate::exec::cpu::narrow_blocks::{NarrowBlocksParams, ROW};
use crate::exec::cpu::orthogonal_columns::OrthogonalColumnsParams;
use crate::exec::cpu::reduce::ReduceParams;
use crate::exec::cpu::scatter_add::ScatterAddParams;
use crate::exec::cpu::select_largest::SelectLargestParams;
use crate::exec::cpu::widen_blocks::WidenBlocksParams;
use crate::graph::passes::schedule::{is_factored, is_piece, lies_in};
use crate::graph::{CompressionStep, DType, Shape, TensorId};

/// A gradient in a bucket, and where its factors lie among those of all: what is not factored lies behind the first ones.
#[derive(Clone, Copy, Debug)]
struct Piece {
    shape: Shape,
    /// First element in the bucket.
    place: u32,
    /// First elements of its factors.
    first: u32,
    second: u32,
    factored: bool,
}

impl Call<'_> {
    pub(super) fn compression(&self, step: CompressionStep) -> Vec<Dispatch> {
        match step {
            CompressionStep::Narrow if self.tensor(self.op.writes[0]).dtype == DType::U8 => vec![self.narrow_blocks()],
            CompressionStep::Widen { parts } if self.tensor(self.op.reads[0]).dtype == DType::U8 => {
                vec![self.widen_blocks(parts)]
            }
            CompressionStep::Narrow | CompressionStep::Widen { .. } => {
                vec![copy(self.reads[0], 0, self.writes[0], 0, self.written(0))]
            }
            CompressionStep::Select => {
                let (n, kept) = (elements(self.read_shape(0)), self.write_shape(0).rows);
                let params = SelectLargestParams { n, kept, pad: [0; 2] };
                vec![Dispatch::new(&params, [self.reads[0], self.writes[0], self.writes[1]])]
            }
            CompressionStep::Scatter { ranks } => self.scatter(ranks),
            CompressionStep::Project { rank } => self.project(rank),
            CompressionStep::Orthogonalize { rank } => {
                let of_piece = |piece: Piece| {
                    let params =
                        OrthogonalColumnsParams { rows: piece.shape.rows, cols: rank, offset: piece.first, pad: [0] };
                    Dispatch::new(&params, [self.writes[0]])
                };
                self.factored_pieces(&self.op.reads, rank).map(of_piece).collect()
            }
            CompressionStep::Reproject { rank } => {
                let [error, first, second] = [self.reads[0], self.reads[1], self.writes[0]];
                let of_piece = |piece: Piece| {
                    let Shape { rows, cols } = piece.shape;
                    let params = MatmulParams {
                        a_offset: piece.place,
                        b_offset: piece.first,
                        c_offset: piece.second,
                        ..product([cols, rank, rows], [1, cols], [rank, 1])
                    };
                    Dispatch::new(&params, [error, first, error, second])
                };
                self.factored_pieces(&self.op.reads, rank).map(of_piece).collect()
            }
            CompressionStep::Expand { rank, ranks } => self.expand(rank, ranks),
        }
    }

    fn narrow_blocks(&self) -> Dispatch {
        let (n, rows) = (elements(self.read_shape(0)), self.write_shape(0).rows);
        let params = NarrowBlocksParams { n, rows, pad: [0; 2] };
        Dispatch::new(&params, [self.reads[0], self.writes[0]])
    }

    fn widen_blocks(&self, parts: u32) -> Dispatch {
        let row = u32::try_from(ROW).unwrap_or(u32::MAX);
        let distance = self.read_shape(0).rows / parts * row;
        let params = WidenBlocksParams { n: self.written(0), parts, distance, pad: [0] };
        Dispatch::new(&params, [self.reads[0], self.writes[0]])
    }

    /// Of one rank after the other, since two may have sent the same place.
    fn scatter(&self, ranks: u32) -> Vec<Dispatch> {
        let (pairs, bucket, n) = (self.reads[0], self.writes[0], self.read_shape(0).rows);
        let clear = Dispatch::new(&FillParams { n: self.written(0), value: 0.0, pad: [0; 2] }, [bucket]);
        let of_rank = |rank: u32| {
            let params = ScatterAddParams { n, first: rank * n, pad: [0; 2] };
            Dispatch::new(&params, [pairs, bucket])
        };
        std::iter::once(clear).chain((0..ranks).map(of_rank)).collect()
    }

    /// The gradients of a bucket among some tensors, as they lie in it and in the factors.
    fn pieces(&self, ids: &[TensorId], rank: u32) -> Vec<Piece> {
        let step = self.context.step;
        let gradients: Vec<TensorId> = ids.iter().copied().filter(|&id| is_piece(step.tensor(id))).collect();
        let shapes = || gradients.iter().map(|&id| step.tensor(id).local);
        let [mut first, mut second] = [0, 0];
        let mut rest = shapes().filter(|&shape| is_factored(shape, rank)).map(|shape| shape.rows * rank).sum::<u32>();
        let mut place = |(&id, shape): (&TensorId, Shape)| {
            let (factored, tensor) = (is_factored(shape, rank), step.tensor(id));
            let (_, bytes) = step.place_of(id, self.context.flat_index);
            let place = u32::try_from(bytes / tensor.dtype.size()).unwrap_or(u32::MAX);
            let piece = Piece { shape, place, first: if factored { first } else { rest }, second, factored };
            if factored {
                first += shape.rows * rank;
                second += shape.cols * rank;
            } else {
                rest += elements(shape);
            }
            piece
        };
        gradients.iter().zip(shapes()).map(&mut place).collect()
    }

    fn factored_pieces(&self, ids: &[TensorId], rank: u32) -> impl Iterator<Item = Piece> {
        self.pieces(ids, rank).into_iter().filter(|piece| piece.factored)
    }

    fn project(&self, rank: u32) -> Vec<Dispatch> {
        let [bucket, second] = [self.reads[0], self.reads[1]];
        let [first, error] = [self.writes[0], self.writes[1]];
        let sum = ReduceParams { n: elements(self.read_shape(0)), op: 0, dst_offset: 0, src_offset: 0 };
        let of_piece = |piece: Piece| {
            let Shape { rows, cols } = piece.shape;
            if !piece.factored {
                return copy(error, piece.place, first, piece.first, rows * cols);
            }
            let params = MatmulParams {
                a_offset: piece.place,
                b_offset: piece.second,
                c_offset: piece.first,
                ..product([rows, rank, cols], [cols, 1], [rank, 1])
            };
            Dispatch::new(&params, [error, second, error, first])
        };
        // Behind them may stand gradients of other buckets, which it waits for.
        let own = |id: &TensorId| lies_in(self.tensor(*id), self.op.reads[0]);
        let gradients: Vec<TensorId> = self.op.reads.iter().copied().filter(own).collect();
        let pieces = self.pieces(&gradients, rank).into_iter().map(of_piece);
        std::iter::once(Dispatch::new(&sum, [bucket, error])).chain(pieces).collect()
    }

    /// The gradients are the products of the factors, which are sums over the ranks; the error keeps what this rank's share
    /// of them leaves.
    fn expand(&self, rank: u32, ranks: u32) -> Vec<Dispatch> {
        let [first, second] = [self.reads[0], self.reads[1]];
        let (bucket, error) = (self.writes[0], self.writes[self.writes.len() - 1]);
        let of_piece = |piece: Piece| {
            let Shape { rows, cols } = piece.shape;
            let whole = MatmulParams {
                a_offset: piece.first,
                b_offset: piece.second,
                c_offset: piece.place,
                ..product([rows, cols, rank], [rank, 1], [1, rank])
            };
            let whole = if piece.factored {
                Dispatch::new(&whole, [first, second, first, bucket])
            } else {
                copy(first, piece.first, bucket, piece.place, rows * cols)
            };
            // All of what is not factored was sent.
            let (from, keep) = if piece.factored { (-1.0 / ranks as f32, 1.0) } else { (0.0, 0.0) };
            let [src_offset, dst_offset] = [piece.place; 2];
            let left = BlendParams { n: rows * cols, from, keep, src_offset, dst_offset, pad: [0; 3] };
            [whole, Dispatch::new(&left, [bucket, error])]
        };
        self.pieces(&self.op.writes, rank).into_iter().flat_map(of_piece).collect()
    }
}

/// A product with `m` rows, `n` columns and sums of `k` terms, of factors with these strides of rows and columns.
fn product(
    [m, n, k]: [u32; 3],
    [a_row_stride, a_col_stride]: [u32; 2],
    [b_row_stride, b_col_stride]: [u32; 2],
) -> MatmulParams {
    MatmulParams {
        m,
        n,
        k,
        a_row_stride,
        a_col_stride,
        b_row_stride,
        b_col_stride,
        batches: 1,
        ..MatmulParams::default()
    }
}
