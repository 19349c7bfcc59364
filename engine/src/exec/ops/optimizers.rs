//! Updates of parameters by the optimizers' rules.

use super::{Call, elements, written_as};
use crate::exec::cpu::adafactor::AdafactorParams;
use crate::exec::cpu::adam_8bit::Adam8BitParams;
use crate::exec::cpu::adamw::AdamwParams;
use crate::exec::cpu::blend::BlendParams;
use crate::exec::cpu::factor_moments::FactorMomentsParams;
use crate::exec::cpu::factor_sums::FactorSumsParams;
use crate::exec::cpu::matmul::MatmulParams;
use crate::exec::cpu::momentum::MomentumParams;
use crate::exec::cpu::muon::MuonParams;
use crate::exec::cpu::muon_momentum::MuonMomentumParams;
use crate::exec::cpu::sgd::SgdParams;
use crate::exec::cpu::unit_norm::UnitNormParams;
use crate::exec::{Dispatch, Slice};
use crate::graph::passes::schedule::matrices;
use crate::graph::{Role, Shape, TensorId};
use crate::scenario::Optimizer;
use crate::scenario::optimizer::NEWTON_SCHULZ_ITERATIONS;

/// What Muon keeps of its momentum (Jordan et al. 2024).
const MUON_DECAY: f32 = 0.95;

/// Coefficients of its iterations, which are tuned to take singular values into [0.7, 1.2] fast (the same).
const NEWTON_SCHULZ: [f32; 3] = [3.4445, -4.7750, 2.0315];

/// What makes an orthogonal update as large as one of AdamW usually is (Liu et al. 2025, equation 4).
const MUON_SCALE: f32 = 0.2;

/// A parameter as matrices below each other, and which of their elements are here.
#[derive(Clone, Copy, Debug)]
struct Factored {
    rows: u32,
    cols: u32,
    matrices: u32,
    begin: u32,
    end: u32,
    /// Where the first of them lies among the rank's.
    first: u32,
    /// Where its sums begin.
    sums: u32,
}

impl Call<'_> {
    /// The updates on the device: one, or one for every replica whose gradients lie beside each other.
    pub(super) fn updates(&self, optimizer: Optimizer, decayed: u64, sliced: bool, times: u32) -> Vec<Dispatch> {
        let of_replica = |number: u32| {
            let (all, size) = (self.reads[0], self.reads[0].size / u64::from(times));
            let own = Slice { offset: all.offset + u64::from(number) * size, size, ..all };
            let reads = [&[own][..], &self.reads[1..]].concat();
            Call { reads: &reads, ..*self }.update(optimizer, decayed, sliced)
        };
        (0..times).flat_map(of_replica).collect()
    }

    fn update(&self, optimizer: Optimizer, decayed: u64, sliced: bool) -> Vec<Dispatch> {
        match optimizer {
            Optimizer::AdamW | Optimizer::Adam => vec![self.simple(&self.adamw_params(decayed, sliced))],
            Optimizer::Adam8Bit => {
                let AdamwParams { n, decayed, pad } = self.adamw_params(decayed, sliced);
                vec![self.simple(&Adam8BitParams { n, decayed, pad })]
            }
            Optimizer::Adafactor if self.reads.len() > 3 => self.adafactor_of_slice(),
            Optimizer::Adafactor => self.adafactor(),
            Optimizer::Muon if sliced => self.muon_of_slice(decayed > 0),
            Optimizer::Muon => self.muon(decayed > 0),
            Optimizer::Sgd | Optimizer::Momentum => self.plain_update(optimizer),
        }
    }

    /// An update without decay that knows no rows and columns.
    fn plain_update(&self, optimizer: Optimizer) -> Vec<Dispatch> {
        let (n, pad) = (self.written(0), [0; 3]);
        vec![if optimizer == Optimizer::Momentum {
            self.simple(&MomentumParams { n, pad })
        } else {
            self.simple(&SgdParams { n, pad })
        }]
    }

    fn adamw_params(&self, decayed: u64, sliced: bool) -> AdamwParams {
        let n = self.written(0);
        let first = if sliced { u64::from(self.context.flat_index) * u64::from(n) } else { 0 };
        let decayed = decayed.saturating_sub(first).min(u64::from(n));
        AdamwParams { n, decayed: u32::try_from(decayed).unwrap_or(n), pad: [0; 2] }
    }

    /// The update of what lies outside the device. A parameter that stays there stands behind the states, and is the first
    /// of them again.
    pub(super) fn host_update(&self, optimizer: Optimizer, decayed: u64, sliced: bool) -> Vec<Dispatch> {
        let is_state = |id: &&TensorId| matches!(self.tensor(**id).role, Role::MasterWeight | Role::Moment);
        let states = self.op.writes.iter().filter(is_state).count();
        let updated = Call { writes: &self.writes[..states], ..*self };
        let stays = self.writes.get(states).map(|&parameter| written_as(self.writes[0], parameter, self.written(0)));
        updated.update(optimizer, decayed, sliced).into_iter().chain(stays.into_iter().flatten()).collect()
    }

    /// Muon's momentum, and a copy of it to be made orthogonal.
    pub(super) fn muon_momentum(&self, direction: Slice, moment: Slice) -> Dispatch {
        let params = MuonMomentumParams { n: elements(self.read_shape(0)), decay: MUON_DECAY, pad: [0; 2] };
        Dispatch::new(&params, [self.reads[0], self.reads[1], self.reads[2], direction, moment])
    }

    fn muon(&self, decays: bool) -> Vec<Dispatch> {
        let [parameter, moment, direction, room @ ..] = self.writes else { return Vec::new() };
        let &[gram, square, product] = room else { return Vec::new() };
        let momentum = self.muon_momentum(*direction, *moment);
        let iterations = self.orthogonal(self.op.writes[2], *direction, [gram, square, product]);
        let params = MuonParams { n: self.written(0), ..self.muon_params(self.op.writes[0], decays) };
        let apply = Dispatch::new(&params, [*direction, self.reads[1], self.reads[2], *parameter]);
        std::iter::once(momentum).chain(iterations).chain([apply]).collect()
    }

    fn muon_params(&self, matrix: TensorId, decays: bool) -> MuonParams {
        let (tensor, dims) = (self.tensor(matrix), &self.context.step.dims);
        let Shape { rows, cols } = tensor.local;
        let longest = (rows / matrices(tensor, dims)).max(cols);
        MuonParams { scale: MUON_SCALE * (longest as f32).sqrt(), decays: decays.into(), ..MuonParams::default() }
    }

    /// Of every matrix that the slice has a part of, that part.
    fn muon_of_slice(&self, decays: bool) -> Vec<Dispatch> {
        let n = self.written(0);
        let begin = self.context.flat_index * n;
        let (whole, _) = self.context.step.place_of(self.op.reads[0], 0);
        let of_matrix = |(&id, &slice): (&TensorId, &Slice)| {
            let (root, bytes) = self.context.step.place_of(id, 0);
            let first = u32::try_from(bytes / slice.format.size()).unwrap_or(u32::MAX);
            let end = first.saturating_add(elements(self.tensor(id).local)).min(begin + n);
            let start = first.max(begin);
            if root != whole || start >= end {
                return None;
            }
            let (from, before) = slice.aligned();
            let params = MuonParams {
                n: end - start,
                from: before + start - first,
                to: start - begin,
                ..self.muon_params(id, decays)
            };
            Some(Dispatch::new(&params, [from, self.reads[1], self.reads[2], self.writes[0]]))
        };
        self.op.reads.iter().zip(self.reads).skip(3).filter_map(of_matrix).collect()
    }

    /// Newton-Schulz iterations on the matrices of a tensor (Jordan et al. 2024): with `A = X Xᵀ` of the shorter side,
    /// `X = a X + (b A + c A A) X`.
    pub(super) fn orthogonal(&self, id: TensorId, x: Slice, [gram, square, product]: [Slice; 3]) -> Vec<Dispatch> {
        let (tensor, [a, b, c]) = (self.tensor(id), NEWTON_SCHULZ);
        let batches = matrices(tensor, &self.context.step.dims);
        let (rows, cols) = (tensor.local.rows / batches, tensor.local.cols);
        let (side, wide, n) = (rows.min(cols), rows <= cols, rows * cols);
        let (x, offset) = x.aligned();
        let dense = MatmulParams { batches, c_batch: side * side, m: side, n: side, ..MatmulParams::default() };
        // Rows of the shorter side, as strides: those of X, or of its transpose.
        let (along, across) = if wide { (cols, 1) } else { (1, cols) };
        let grams = MatmulParams {
            k: rows.max(cols),
            a_row_stride: along,
            a_col_stride: across,
            b_row_stride: across,
            b_col_stride: along,
            a_offset: offset,
            b_offset: offset,
            a_batch: n,
            b_batch: n,
            ..dense
        };
        let of_squares = MatmulParams {
            k: side,
            a_row_stride: side,
            a_col_stride: 1,
            b_row_stride: side,
            b_col_stride: 1,
            a_batch: side * side,
            b_batch: side * side,
            ..dense
        };
        let of_x = MatmulParams { m: rows, n: cols, c_batch: n, ..of_squares };
        // The polynomial is symmetric, so it stands on the side that fits.
        let (apply, factors) = if wide {
            (MatmulParams { b_row_stride: cols, b_offset: offset, b_batch: n, ..of_x }, [square, x])
        } else {
            (MatmulParams { a_row_stride: cols, a_offset: offset, a_batch: n, ..of_x }, [x, square])
        };
        let matmul = |params: &MatmulParams, [a, b]: [Slice; 2], c: Slice| Dispatch::new(params, [a, b, a, c]);
        let blend = |n: u32, from: f32, keep: f32, dst_offset: u32| BlendParams {
            n,
            from,
            keep,
            dst_offset,
            ..BlendParams::default()
        };
        let iteration = [
            matmul(&grams, [x, x], gram),
            matmul(&of_squares, [gram, gram], square),
            Dispatch::new(&blend(batches * side * side, b, c, 0), [gram, square]),
            matmul(&apply, factors, product),
            Dispatch::new(&blend(batches * n, 1.0, a, offset), [product, x]),
        ];
        let unit = Dispatch::new(&UnitNormParams { n, offset, matrices: batches, pad: [0; 1] }, [x]);
        let iterations = std::iter::repeat_n(iteration, NEWTON_SCHULZ_ITERATIONS as usize).flatten();
        std::iter::once(unit).chain(iterations).collect()
    }

    /// The pieces of a flat group of which the rank's slice has elements.
    fn factored(&self, sums: TensorId, n: u32) -> Vec<Factored> {
        let step = self.context.step;
        let Some(flat) = step.flats.iter().find(|flat| flat.sums == Some(sums)) else { return Vec::new() };
        let begin = self.context.flat_index * n;
        let mut next = 0;
        let piece = |&(gradient, _, offset): &(TensorId, TensorId, u64)| {
            let tensor = step.tensor(gradient);
            let (Shape { rows, cols }, matrices) = (tensor.local, matrices(tensor, &step.dims));
            let start = u32::try_from(offset).unwrap_or(u32::MAX);
            let here = [begin, begin + n].map(|end| end.clamp(start, start + rows * cols) - start);
            let sums = next;
            next += rows + cols * matrices;
            Factored {
                rows,
                cols,
                matrices,
                begin: here[0],
                end: here[1],
                first: start.max(begin).min(begin + n) - begin,
                sums,
            }
        };
        flat.pieces.iter().map(piece).collect()
    }

    /// Sums of a slice's squares. What the slice has nothing of is zero there, since sums are added up.
    pub(super) fn factor_sums(&self) -> Vec<Dispatch> {
        let [gradient, sums] = [self.reads[0], self.writes[0]];
        let of_piece = |piece: Factored| {
            let params = FactorSumsParams {
                grad_offset: piece.first,
                count: piece.rows + piece.cols * piece.matrices,
                out_offset: piece.sums,
                ..piece.sums_params()
            };
            Dispatch::new(&params, [gradient, gradient, gradient, sums])
        };
        self.factored(self.op.writes[0], elements(self.read_shape(0))).into_iter().map(of_piece).collect()
    }

    fn adafactor_of_slice(&self) -> Vec<Dispatch> {
        let [parameter, moments] = [self.writes[0], self.writes[1]];
        let sums = FactorMomentsParams { n: self.written(1), pad: [0; 3] };
        let sums = Dispatch::new(&sums, [self.reads[1], self.reads[2], self.reads[3], moments]);
        let of_piece = |piece: Factored| {
            let params = AdafactorParams {
                grad_offset: piece.first,
                param_offset: piece.first,
                row_offset: piece.sums,
                column_offset: piece.sums + piece.rows,
                ..piece.params()
            };
            Dispatch::new(&params, [self.reads[0], self.reads[1], self.reads[2], moments, moments, parameter])
        };
        let pieces =
            self.factored(self.op.reads[3], self.written(0)).into_iter().filter(|piece| piece.begin < piece.end);
        std::iter::once(sums).chain(pieces.map(of_piece)).collect()
    }

    /// A whole parameter; a vector has a moment for each of its elements.
    fn adafactor(&self) -> Vec<Dispatch> {
        let id = self.op.writes[0];
        let vector = self.writes.len() == 2;
        let (shape, matrices) = (self.tensor(id).local, matrices(self.tensor(id), &self.context.step.dims));
        let (rows, cols, matrices) = if vector { (elements(shape), 1, 1) } else { (shape.rows, shape.cols, matrices) };
        let whole = Factored { rows, cols, matrices, begin: 0, end: rows * cols, first: 0, sums: 0 };
        let inputs = [self.reads[0], self.reads[1], self.reads[2]];
        let moment = |first: u32, count: u32, of: Slice| {
            let params = FactorSumsParams { first, count, moment: 1, ..whole.sums_params() };
            Dispatch::new(&params, [inputs.as_slice(), &[of]].concat())
        };
        let mut calls = vec![moment(0, rows, self.writes[1])];
        let columns = self.writes.get(2).map(|&columns| moment(rows, cols * matrices, columns));
        calls.extend(columns);
        let params = AdafactorParams { vector: vector.into(), ..whole.params() };
        let moments = [self.writes[1], self.writes.get(2).copied().unwrap_or(self.writes[1])];
        calls.push(Dispatch::new(&params, [inputs.as_slice(), &moments, &[self.writes[0]]].concat()));
        calls
    }
}

impl Factored {
    fn sums_params(self) -> FactorSumsParams {
        let Self { rows, cols, matrices, begin, end, .. } = self;
        FactorSumsParams { rows, cols, matrices, begin, end, ..FactorSumsParams::default() }
    }

    fn params(self) -> AdafactorParams {
        let Self { rows, cols, matrices, begin, end, .. } = self;
        AdafactorParams { rows, cols, matrices, begin, end, ..AdafactorParams::default() }
    }
}
