//! The flat buffers of a bucket and what a rank owns of them.

use super::buckets::Bucket;
use super::{clear, matrices};
use crate::cluster::Group;
use crate::graph::passes::optimize::states;
use crate::graph::passes::shard::scratch_tensor;
use crate::graph::{
    Collective, DType, Dim, FlatPlace, Op, OpKind, Placement, Reduction, Role, Shape, Storage, Tensor, TensorId,
};
use crate::scenario::{Optimizer, Strategy, ZeroStage};
use crate::trace::Phase;

/// A parameter in a flat buffer.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// Its gradient.
    pub gradient: TensorId,
    /// The parameter itself.
    pub parameter: TensorId,
    /// First element of both.
    pub offset: u64,
    /// Its update.
    pub adam: Op,
}

/// A bucket with its slices.
#[derive(Clone, Debug)]
pub(super) struct Flat {
    pub pieces: Vec<Piece>,
    /// All gradients: of the step in stage 1, of one micro-batch else.
    pub gradient: TensorId,
    /// This rank's, summed over everything once it is reduced.
    pub gradient_slice: TensorId,
    /// All parameters; in stage 3 there are buffers for them only while they are used.
    pub parameters: Option<TensorId>,
    /// This rank's.
    pub parameter_slice: TensorId,
    optimizer: Optimizer,
    /// The update of the slice.
    pub updates: Vec<Op>,
    /// From the gradients of all ranks to the slices.
    pub reductions: Vec<Op>,
    /// The sum of slices over sharding groups, where there are several.
    pub across_groups: Option<Op>,
    /// The sum of the tensor group's terms of the slice.
    pub across_slices: Op,
    pub first_write: usize,
    pub complete_after: usize,
    replicas: u32,
    decayed: u64,
    of_experts: bool,
}

/// The rule of what lies in a bucket together.
fn optimizer(pieces: &[Piece], of_strategy: Optimizer) -> Optimizer {
    match pieces.first().map(|piece| piece.adam.kind) {
        Some(OpKind::Update { optimizer, .. }) => optimizer,
        _ => of_strategy,
    }
}

/// Makes tensors that resemble a bucket.
pub(super) struct Maker<'a> {
    tensors: &'a mut Vec<Tensor>,
    like: Tensor,
    ranks: u32,
    /// Matrices that lie below each other in a piece.
    matrices: u32,
}

impl Maker<'_> {
    pub fn add(&mut self, name: &str, shape: Shape, role: Role, dtype: DType, storage: Storage) -> TensorId {
        let id = TensorId::new(self.tensors.len());
        let name = name.into();
        self.tensors.push(Tensor { name, shape, local: shape, role, dtype, storage, ..self.like.clone() });
        id
    }

    /// A part of a flat buffer with the shape of `like`.
    pub fn view(&mut self, like: &Tensor, name: &str, dtype: DType, storage: Storage) -> TensorId {
        let id = TensorId::new(self.tensors.len());
        self.tensors.push(Tensor { name: name.into(), role: Role::Scratch, dtype, storage, ..like.clone() });
        id
    }

    pub fn tensor(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.index()]
    }

    /// Of all ranks of the sharding group.
    pub fn whole(&self) -> Shape {
        self.like.local
    }

    /// Of one of them.
    pub fn slice(&self) -> Shape {
        Shape::new(self.like.local.rows / self.ranks, self.like.local.cols)
    }

    /// Matrices that lie below each other in a piece.
    pub fn matrices(&self) -> u32 {
        self.matrices
    }

    /// Those of the sharding group.
    pub fn ranks(&self) -> u32 {
        self.ranks
    }

    /// The sum of a slice over a group, in place.
    pub fn all_reduce(&mut self, name: &str, id: TensorId, group: Group, ranks: u32) -> Op {
        let scratch = self.scratch(id, ranks);
        Op {
            kind: OpKind::Collective { collective: Collective::AllReduce(Reduction::Sum), group },
            name: format!("{name} all-reduce").into(),
            part: self.like.part,
            phase: Phase::Update,
            reads: vec![id],
            writes: vec![id, scratch],
        }
    }

    fn scratch(&mut self, of: TensorId, ranks: u32) -> TensorId {
        let tensor = self.tensors[of.index()].clone();
        let id = TensorId::new(self.tensors.len());
        self.tensors.push(scratch_tensor(&tensor, tensor.local, ranks));
        id
    }
}

impl Flat {
    /// Lays out a bucket whose elements divide by the sharding group.
    pub fn new(tensors: &mut Vec<Tensor>, bucket: &Bucket, pieces: Vec<Piece>, strategy: &Strategy) -> Self {
        let dtype = pieces.first().map_or(DType::F32, |piece| tensors[piece.parameter.index()].dtype);
        let replicated = pieces.first().is_some_and(|p| tensors[p.gradient.index()].placement == Placement::Replicate);
        let placement = if replicated { Placement::Replicate } else { Placement::Shard(Dim::Rows) };
        let like = Tensor { placement, ..tensors[bucket.id.index()].clone() };
        let ranks = bucket.sharding_group(strategy);
        let copies = if bucket.of_experts { strategy.mesh().expert_copies() } else { strategy.copies() };
        let name = like.name.trim_start_matches("gradient ").to_owned();
        let mut make = Maker { tensors, like, ranks, matrices: bucket.matrices };
        let (whole, slice) = (make.whole(), make.slice());
        let in_place = |of| Storage::Slice { of };
        let format = make.like.dtype;
        let gradient_slice = match strategy.zero {
            ZeroStage::Gradients | ZeroStage::Parameters => {
                make.tensors[bucket.id.index()].role = Role::GradientBuffer;
                make.add(&format!("gradient slice of {name}"), slice, Role::Bucket, format, Storage::Own)
            }
            _ => make.add(&format!("gradient slice of {name}"), slice, Role::Bucket, format, in_place(bucket.id)),
        };
        let (parameters, parameter_slice) = if strategy.zero == ZeroStage::Parameters {
            (None, make.add(&format!("parameter slice of {name}"), slice, Role::ParameterBucket, dtype, Storage::Own))
        } else {
            let all = make.add(&format!("parameters of {name}"), whole, Role::ParameterBucket, dtype, Storage::Own);
            let own = format!("parameter slice of {name}");
            (Some(all), make.add(&own, slice, Role::ParameterBucket, dtype, in_place(all)))
        };
        let master = if dtype == DType::F32 {
            parameter_slice
        } else {
            make.add(&format!("master slice of {name}"), slice, Role::MasterWeight, DType::F32, Storage::Own)
        };
        if let Some(all) = parameters {
            for piece in &pieces {
                make.tensors[piece.parameter.index()].storage = Storage::View { of: all, offset: piece.offset };
            }
        }
        let across_slices = make.all_reduce(&name, gradient_slice, Group::Tensor, strategy.tensor_parallel);
        let mut flat = Self {
            gradient: bucket.id,
            gradient_slice,
            parameters,
            parameter_slice,
            optimizer: optimizer(&pieces, strategy.optimizer),
            pieces,
            updates: Vec::new(),
            reductions: Vec::new(),
            across_groups: None,
            across_slices,
            first_write: bucket.first_write,
            complete_after: bucket.complete_after,
            replicas: copies / ranks,
            of_experts: bucket.of_experts,
            decayed: bucket.decayed,
        };
        flat.reduce(&mut make, &name, strategy);
        flat.updates = flat.updates(&mut make, master, &name, bucket.of_matrices);
        flat
    }

    /// By which rule the slice is updated.
    pub fn optimizer(&self) -> Optimizer {
        self.optimizer
    }

    fn reduce(&mut self, make: &mut Maker<'_>, name: &str, strategy: &Strategy) {
        let scratch = make.scratch(self.gradient, make.ranks);
        let gradients: Vec<TensorId> = self.pieces.iter().map(|piece| piece.gradient).collect();
        let accumulates = strategy.zero >= ZeroStage::Gradients;
        let target = if accumulates {
            let (slice, storage) = (make.slice(), Storage::Slice { of: self.gradient });
            make.add(&format!("reduced slice of {name}"), slice, Role::GradientBuffer, make.like.dtype, storage)
        } else {
            self.gradient_slice
        };
        let collective = Collective::ReduceScatter;
        let reads = std::iter::once(self.gradient).chain(gradients.iter().copied()).collect();
        let writes = [target, scratch].into_iter().chain(gradients).collect();
        let kind = OpKind::Collective { collective, group: self.shard_group() };
        self.reductions.push(self.op(kind, &format!("{name} reduce-scatter"), reads, writes));
        if accumulates {
            let (reads, writes) = (vec![target], vec![self.gradient_slice]);
            let accumulate = self.op(OpKind::Accumulate, &format!("{name} accumulate"), reads, writes);
            self.reductions.push(Op { phase: Phase::Backward, ..accumulate });
        }
        if self.replicas > 1 {
            let all_reduce = make.all_reduce(name, self.gradient_slice, self.replica_group(), self.replicas);
            if accumulates {
                self.across_groups = Some(all_reduce);
            } else {
                self.reductions.push(all_reduce);
            }
        }
    }

    pub fn op(&self, kind: OpKind, name: &str, reads: Vec<TensorId>, writes: Vec<TensorId>) -> Op {
        let part = self.pieces.first().map_or(crate::graph::Part::Head, |piece| piece.adam.part);
        Op { kind, name: name.into(), part, phase: Phase::Update, reads, writes }
    }

    pub fn shard_group(&self) -> Group {
        if self.of_experts { Group::ExpertShard } else { Group::Shard }
    }

    fn replica_group(&self) -> Group {
        if self.of_experts { Group::ExpertReplica } else { Group::Replica }
    }

    /// Where everything lies, for those who put it together again.
    pub fn place(&self, stage: usize) -> FlatPlace {
        let pieces = self.pieces.iter().map(|piece| (piece.gradient, piece.parameter, piece.offset)).collect();
        let sums = self.updates.iter().find(|op| op.kind == OpKind::FactorSums).map(|op| op.writes[0]);
        FlatPlace { stage, gradients: self.gradient_slice, parameters: self.parameter_slice, pieces, sums }
    }

    /// Clears the gradients of a micro-batch.
    pub fn clear(&self, tensors: &[Tensor]) -> Op {
        let name = &tensors[self.gradient.index()].name;
        let like = self.op(OpKind::Fill(0.0), name, Vec::new(), Vec::new());
        clear(name, self.gradient, &Op { phase: Phase::Backward, ..like })
    }

    /// This slice's term of the gradient norm.
    pub fn sum_squares(&self) -> Op {
        let norm = self.pieces.first().map_or(self.gradient, |piece| piece.adam.reads[1]);
        let kind = OpKind::SumSquares { copies: self.replicas };
        self.op(kind, "slice norm", vec![self.gradient_slice], vec![norm])
    }

    /// What every rule reads: the slice of the gradients, their norm and the hyper-parameters.
    pub fn inputs(&self) -> Vec<TensorId> {
        let of_piece = self.pieces.first().map_or(&[][..], |piece| &piece.adam.reads[1..3]);
        std::iter::once(self.gradient_slice).chain(of_piece.iter().copied()).collect()
    }

    /// The op that applies the rule.
    pub fn update_kind(&self) -> OpKind {
        OpKind::Update { optimizer: self.optimizer, decayed: self.decayed, sliced: true, times: 1 }
    }

    fn updates(&self, make: &mut Maker<'_>, master: TensorId, name: &str, of_matrices: bool) -> Vec<Op> {
        let mut ops = if of_matrices {
            matrices::updates(make, self, master, name)
        } else {
            vec![self.elementwise_update(make, master, name)]
        };
        if master != self.parameter_slice {
            ops.push(self.op(OpKind::Cast, "slice cast", vec![master], vec![self.parameter_slice]));
        }
        ops
    }

    /// The update by a rule that knows no rows and columns.
    fn elementwise_update(&self, make: &mut Maker<'_>, master: TensorId, name: &str) -> Op {
        let slice = make.slice();
        let flat = if self.optimizer.needs_matrices() { Shape::vector(slice.rows) } else { slice };
        let states = states(self.optimizer, flat).iter().map(|state| {
            let name = format!("{} slice of {name}", state.name);
            make.add(&name, state.layout.shape(slice, 1), state.role, state.dtype, Storage::Own)
        });
        let writes = std::iter::once(master).chain(states).collect();
        self.op(self.update_kind(), "slice update", self.inputs(), writes)
    }

    /// Makes the parameters whole again.
    pub fn gather_parameters(&self) -> Op {
        let whole = self.parameters.unwrap_or(self.parameter_slice);
        let writes = std::iter::once(whole).chain(self.pieces.iter().map(|piece| piece.parameter)).collect();
        self.gather_into("parameters all-gather", Vec::new(), writes)
    }

    /// Gathers the slices into the first of `writes`, not before `after` is there.
    pub fn gather_into(&self, name: &str, after: Vec<TensorId>, writes: Vec<TensorId>) -> Op {
        let kind = OpKind::Collective { collective: Collective::AllGather, group: self.shard_group() };
        let reads = std::iter::once(self.parameter_slice).chain(after).collect();
        self.op(kind, name, reads, writes)
    }
}
