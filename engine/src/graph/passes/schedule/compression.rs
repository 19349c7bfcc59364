//! Makes gradients smaller before they are summed over replicas, and whole again behind.
//!
//! Every reduction of a bucket becomes a few ops on the same stream: what it read is read by the first of them, what it
//! wrote is written by the last, so that nothing else of the step changes.

use std::collections::BTreeMap;

use super::StagePlan;
use crate::cluster::Group;
use crate::graph::passes::shard::scratch_tensor;
use crate::graph::{Collective, CompressionStep, DType, Op, OpKind, Role, Shape, Storage, Tensor, TensorId};
use crate::scenario::compression::{BLOCK, Compression};
use crate::scenario::{Scenario, Strategy};

/// Compresses all reductions of gradients of a stage.
pub(super) fn compress(tensors: &mut Vec<Tensor>, plan: &mut StagePlan, scenario: &Scenario) {
    let strategy = scenario.strategy();
    if strategy.compression == Compression::None {
        return;
    }
    let mut compressor = Compressor { errors: BTreeMap::new(), tensors, strategy };
    let mut through = |ops: &mut Vec<Op>| {
        *ops = std::mem::take(ops).into_iter().flat_map(|op| compressor.op(op)).collect();
    };
    for chunk in &mut plan.chunks {
        through(&mut chunk.backward);
        for list in [&mut chunk.weight, &mut chunk.backward_last, &mut chunk.weight_last].into_iter().flatten() {
            through(list);
        }
    }
    through(&mut plan.begin);
    through(&mut plan.update);
}

/// Whether a tensor is a gradient in a bucket, of this step or of one before.
pub fn is_piece(tensor: &Tensor) -> bool {
    matches!(tensor.role, Role::Gradient | Role::Bucket | Role::GradientBuffer)
        && matches!(tensor.storage, Storage::View { .. })
}

/// Whether a tensor lies in a bucket.
pub fn lies_in(tensor: &Tensor, bucket: TensorId) -> bool {
    matches!(tensor.storage, Storage::View { of, .. } if of == bucket)
}

/// Whether a matrix is sent as two factors of so many columns: vectors are not, nor what is too thin to get smaller.
pub fn is_factored(shape: Shape, rank: u32) -> bool {
    u64::from(rank) * (u64::from(shape.rows) + u64::from(shape.cols)) < shape.elements()
}

struct Compressor<'a> {
    tensors: &'a mut Vec<Tensor>,
    strategy: &'a Strategy,
    /// What has not been sent of each bucket, and the second factor of its matrices.
    errors: BTreeMap<TensorId, [TensorId; 2]>,
}

/// Whether a group's ranks hold copies of gradients.
pub(super) fn sums_copies(group: Group) -> bool {
    use Group::{Data, ExpertData, ExpertReplica, ExpertShard, Replica, Shard};
    matches!(group, Data | Shard | Replica | ExpertData | ExpertShard | ExpertReplica)
}

impl Compressor<'_> {
    /// The op, or what stands for it.
    fn op(&mut self, op: Op) -> Vec<Op> {
        let OpKind::Collective { collective, group } = op.kind else { return vec![op] };
        let gradients = |id: &TensorId| matches!(self.tensors[id.index()].role, Role::Bucket | Role::GradientBuffer);
        if !sums_copies(group) || !op.reads.first().is_some_and(gradients) {
            return vec![op];
        }
        let ranks = self.strategy.mesh().group_size(group);
        match (collective, self.strategy.compression) {
            (Collective::AllReduce(_) | Collective::ReduceScatter, Compression::Fp16) => self.cast(&op, DType::F16),
            (Collective::AllReduce(_) | Collective::ReduceScatter, Compression::Bf16) => self.cast(&op, DType::Bf16),
            (Collective::ReduceScatter, Compression::Int8) => self.exchange(&op, group, ranks),
            (Collective::AllReduce(_), Compression::Int8) => self.exchange_and_gather(&op, group, ranks),
            (Collective::AllReduce(_), Compression::TopK) => self.largest(&op, group, ranks),
            (Collective::AllReduce(_), Compression::LowRank) => self.factors(&op, ranks),
            _ => vec![op],
        }
    }

    fn tensor(&mut self, name: String, like: TensorId, shape: Shape, dtype: DType, role: Role) -> TensorId {
        let (storage, like) = (Storage::Own, self.tensors[like.index()].clone());
        let id = TensorId::new(self.tensors.len());
        self.tensors.push(Tensor { name: name.into(), shape, local: shape, dtype, role, storage, ..like });
        id
    }

    fn scratch(&mut self, what: &str, like: TensorId, shape: Shape, dtype: DType) -> TensorId {
        let name = format!("{} {what}", self.tensors[like.index()].name);
        self.tensor(name, like, shape, dtype, Role::Scratch)
    }

    /// What the collective sums or hands on in the other format, and space for a chunk if it had any.
    fn cast(&mut self, op: &Op, format: DType) -> Vec<Op> {
        let (bucket, result) = (op.reads[0], op.writes[0]);
        let narrow = self.scratch("narrowed", bucket, self.tensors[bucket.index()].local, format);
        let reduced = if result == bucket {
            narrow
        } else {
            self.scratch("narrowed", result, self.tensors[result.index()].local, format)
        };
        let own = |id: &TensorId| self.tensors[id.index()].role == Role::Scratch;
        let chunk = op.writes.iter().copied().find(own);
        if let Some(chunk) = chunk {
            self.tensors[chunk.index()].dtype = format;
        }
        let collective = like(op, op.kind, "", vec![narrow], std::iter::once(reduced).chain(chunk).collect());
        vec![self.first(op, CompressionStep::Narrow, vec![narrow]), collective, self.last(op, vec![reduced])]
    }

    /// A row of codes with its scale for every block, as many for each of some parts.
    fn codes(&mut self, of: TensorId, parts: u32) -> TensorId {
        let local = self.tensors[of.index()].local;
        let rows = u32::try_from(local.elements().div_ceil(u64::from(BLOCK))).unwrap_or(u32::MAX);
        self.scratch("codes", of, Shape::new(rows.next_multiple_of(parts), BLOCK + 4), DType::U8)
    }

    /// Every rank gets its slice of all ranks' codes and sums them.
    fn exchange(&mut self, op: &Op, group: Group, ranks: u32) -> Vec<Op> {
        let codes = self.codes(op.reads[0], ranks);
        let there = self.scratch("exchanged", codes, self.tensors[codes.index()].local, DType::U8);
        let all_to_all = OpKind::Collective { collective: Collective::AllToAll, group };
        let parts = CompressionStep::Widen { parts: ranks };
        vec![
            self.first(op, CompressionStep::Narrow, vec![codes]),
            like(op, all_to_all, " all-to-all", vec![codes], vec![there]),
            like(op, OpKind::Compression(parts), " sum", vec![there], self.results(op)),
        ]
    }

    /// The same, and the sums are gathered as codes.
    fn exchange_and_gather(&mut self, op: &Op, group: Group, ranks: u32) -> Vec<Op> {
        let local = self.tensors[op.reads[0].index()].local;
        let slice = Shape::new(local.rows.div_ceil(ranks), local.cols);
        let sum = self.scratch("slice", op.reads[0], slice, DType::F32);
        let (codes, part) = (self.codes(op.reads[0], ranks), self.codes(sum, 1));
        let of_all = self.tensors[codes.index()].local;
        let (there, gathered) =
            (self.scratch("exchanged", codes, of_all, DType::U8), self.scratch("gathered", codes, of_all, DType::U8));
        let collective = |collective| OpKind::Collective { collective, group };
        let step = OpKind::Compression;
        vec![
            self.first(op, CompressionStep::Narrow, vec![codes]),
            like(op, collective(Collective::AllToAll), " all-to-all", vec![codes], vec![there]),
            like(op, step(CompressionStep::Widen { parts: ranks }), " sum", vec![there], vec![sum]),
            like(op, step(CompressionStep::Narrow), " narrowed sum", vec![sum], vec![part]),
            like(op, collective(Collective::AllGather), " all-gather", vec![part], vec![gathered]),
            self.last(op, vec![gathered]),
        ]
    }

    /// Values and places of the largest elements of all ranks.
    fn largest(&mut self, op: &Op, group: Group, ranks: u32) -> Vec<Op> {
        let elements = self.tensors[op.reads[0].index()].local.elements() as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of some billions")]
        let kept = (elements * self.strategy.compression_share).ceil().clamp(1.0, f64::from(u32::MAX / 2)) as u32;
        let [error, _] = self.errors(op.reads[0], None);
        let chosen = self.scratch("largest", op.reads[0], Shape::new(kept, 2), DType::U32);
        let all = Shape::new(kept, 2 * ranks);
        let of_all = self.scratch("largest of all", op.reads[0], all, DType::U32);
        let gather = OpKind::Collective { collective: Collective::AllGather, group };
        vec![
            self.first(op, CompressionStep::Select, vec![chosen, error]),
            like(op, gather, " all-gather", vec![chosen], vec![of_all]),
            like(op, OpKind::Compression(CompressionStep::Scatter { ranks }), " sum", vec![of_all], self.results(op)),
        ]
    }

    /// Thin factors of the matrices of a bucket; vectors travel whole, with the first of them. What was not sent before is
    /// added to the gradients first, and becomes what is not sent now.
    fn factors(&mut self, op: &Op, ranks: u32) -> Vec<Op> {
        let bucket = op.reads[0];
        let (rows, cols, rest) = self.sides(op);
        let rank = self.strategy.compression_rank;
        let [error, second] = self.errors(bucket, Some(Shape::new(cols, rank)));
        let first = u32::try_from(u64::from(rows) * u64::from(rank) + rest).unwrap_or(u32::MAX);
        let first = self.scratch("first factors", bucket, Shape::vector(first), DType::F32);
        let chunks = [first, second].map(|factors| {
            let tensor = self.tensors[factors.index()].clone();
            self.tensors.push(scratch_tensor(&tensor, tensor.local, ranks));
            TensorId::new(self.tensors.len() - 1)
        });
        let gradients: Vec<TensorId> =
            op.writes.iter().copied().filter(|id| lies_in(&self.tensors[id.index()], bucket)).collect();
        let with = |ids: [TensorId; 2]| [&ids[..], &gradients].concat();
        let step = OpKind::Compression;
        // What else the reduction waits for stands behind: a bucket is reduced late, or has been rotated.
        let waits = op.reads[1..].iter().copied().filter(|id| !gradients.contains(id));
        let mut project = self.first(op, CompressionStep::Project { rank }, vec![first, error]);
        project.reads = [bucket, second].into_iter().chain(gradients.iter().copied()).chain(waits).collect();
        let orthogonal = CompressionStep::Orthogonalize { rank };
        let whole = step(CompressionStep::Expand { rank, ranks });
        vec![
            project,
            like(op, op.kind, " first factors", vec![first], vec![first, chunks[0]]),
            like(op, step(orthogonal), " orthogonal", [&[first][..], &gradients].concat(), vec![first]),
            like(op, step(CompressionStep::Reproject { rank }), " second factors", with([error, first]), vec![second]),
            like(op, op.kind, " second factors", vec![second], vec![second, chunks[1]]),
            like(op, whole, " whole", vec![first, second], [self.results(op), vec![error]].concat()),
        ]
    }

    /// Rows and columns of all matrices of a bucket, and elements of what is not factored.
    fn sides(&self, op: &Op) -> (u32, u32, u64) {
        let rank = self.strategy.compression_rank;
        let gradients = op.writes.iter().map(|id| &self.tensors[id.index()]);
        gradients.filter(|tensor| lies_in(tensor, op.reads[0])).fold((0, 0, 0), |(rows, cols, rest), tensor| {
            let Shape { rows: r, cols: c } = tensor.local;
            if is_factored(tensor.local, rank) {
                (rows + r, cols + c, rest)
            } else {
                (rows, cols, rest + tensor.local.elements())
            }
        })
    }

    /// What a rank keeps of a bucket from step to step.
    fn errors(&mut self, bucket: TensorId, second: Option<Shape>) -> [TensorId; 2] {
        if let Some(&known) = self.errors.get(&bucket) {
            return known;
        }
        let Tensor { name, local, .. } = self.tensors[bucket.index()].clone();
        let error = self.tensor(format!("error of {name}"), bucket, local, DType::F32, Role::Moment);
        let factors = second
            .map(|shape| self.tensor(format!("second factors of {name}"), bucket, shape, DType::F32, Role::Moment));
        let both = [error, factors.unwrap_or(error)];
        self.errors.insert(bucket, both);
        both
    }

    /// What the reduction wrote, without its space.
    fn results(&self, op: &Op) -> Vec<TensorId> {
        op.writes.iter().copied().filter(|id| self.tensors[id.index()].role != Role::Scratch).collect()
    }

    /// The op that reads what the reduction read.
    fn first(&self, op: &Op, step: CompressionStep, writes: Vec<TensorId>) -> Op {
        like(op, OpKind::Compression(step), " narrowed", op.reads.clone(), writes)
    }

    /// The op that writes what the reduction wrote.
    fn last(&self, op: &Op, reads: Vec<TensorId>) -> Op {
        like(op, OpKind::Compression(CompressionStep::Widen { parts: 1 }), " widened", reads, self.results(op))
    }
}

fn like(op: &Op, kind: OpKind, what: &str, reads: Vec<TensorId>, writes: Vec<TensorId>) -> Op {
    Op { kind, name: format!("{}{what}", op.name).into(), reads, writes, ..op.clone() }
}
