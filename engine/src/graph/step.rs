//! The lowered step: what every pipeline stage runs, in which order, and what memory that takes.

use petgraph::graph::DiGraph;
use serde::Serialize;

use super::passes::plan_memory::Profile;
use super::{Collective, Dims, Op, OpKind, Role, Tensor, TensorId};
use crate::cluster::{Group, Mesh};
use crate::trace::MemoryUse;
use crate::units::Bytes;

/// A handle into [`Stage::segments`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct SegmentId(pub u32);

/// When a segment runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmentKind {
    /// Once, before the first micro-batch: clears accumulators.
    Begin,
    /// Forward of a micro-batch.
    Forward,
    /// Backward of a micro-batch: of inputs and weights, or of the inputs alone where there is a `Weight` segment.
    Backward,
    /// Gradients of the weights, where the schedule has slots for them.
    Weight,
    /// Backward of the last micro-batch, with the gradient buckets' reductions in it.
    BackwardLast,
    /// Gradients of the weights of the last micro-batch, with the gradient buckets' reductions in it.
    WeightLast,
    /// Once, after the last micro-batch: reductions, clipping, optimizer.
    Update,
}

impl SegmentKind {
    /// The kind that runs for all micro-batches but the last.
    pub fn of_any(self) -> Self {
        match self {
            Self::BackwardLast => Self::Backward,
            Self::WeightLast => Self::Weight,
            other => other,
        }
    }

    /// The kind that runs for the last micro-batch.
    pub fn of_last(self) -> Self {
        match self {
            Self::Backward => Self::BackwardLast,
            Self::Weight => Self::WeightLast,
            other => other,
        }
    }

    /// Whether micro-batches compute in it, beside what is communicated.
    pub fn is_beside_compute(self) -> bool {
        !matches!(self, Self::Begin | Self::Update)
    }

    /// The name in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Forward => "forward",
            Self::Backward => "backward",
            Self::Weight => "weight gradient",
            Self::BackwardLast => "backward (last)",
            Self::WeightLast => "weight gradient (last)",
            Self::Update => "update",
        }
    }
}

/// The place of a segment among those that a chunk's ops are cut into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Piece {
    /// Its number, from 0.
    pub number: u32,
    /// Whether it is the last.
    pub last: bool,
}

impl Piece {
    /// All of it.
    pub const WHOLE: Self = Self { number: 0, last: true };
}

/// A DAG of ops that runs as a unit. Node indices are in program order, so every edge goes from a smaller to a
/// larger index; an edge carries the tensor that is handed on.
#[derive(Clone, Debug)]
pub struct Segment {
    /// When it runs.
    pub kind: SegmentKind,
    /// The model chunk of the stage that it belongs to; 0 where it belongs to all.
    pub chunk: u32,
    /// Which piece of the chunk's ops it is, where micro-batches run side by side; else the only one.
    pub piece: Piece,
    /// The ops.
    pub graph: DiGraph<Op, TensorId>,
    /// What it allocates and frees.
    pub memory: SegmentMemory,
}

impl Segment {
    /// What all segments have in common that do the same for one micro-batch or another.
    pub fn family(&self) -> (SegmentKind, u32, u32) {
        (self.kind.of_any(), self.chunk, self.piece.number)
    }

    /// The ops in program order.
    pub fn ops(&self) -> impl ExactSizeIterator<Item = &Op> {
        self.graph.raw_nodes().iter().map(|node| &node.weight)
    }
}

/// What a segment allocates and frees. Filled by `plan_memory`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SegmentMemory {
    /// For each op, what comes to life when it starts.
    pub allocates: Vec<Vec<TensorId>>,
    /// For each op, what is no longer needed when it has ended.
    pub frees: Vec<Vec<TensorId>>,
    /// How much that is, relative to the start.
    #[serde(skip)]
    pub profile: Profile,
}

/// One entry of a stage's schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Task {
    /// What runs.
    pub segment: SegmentId,
    /// For which micro-batch; `None` for the whole step.
    pub micro_batch: Option<u32>,
}

/// Memory of one rank of a stage. Filled by `plan_memory`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StageMemory {
    /// What lives from step to step.
    pub persistent: MemoryUse,
    /// What is in use when the sum is largest, the first such moment.
    pub at_peak: MemoryUse,
    /// The largest value of each category on its own.
    pub peaks: MemoryUse,
    /// What is kept outside the device when that is most.
    pub outside: Bytes,
    /// Forwards whose backward is still to come, over all model chunks, at most.
    pub forwards_in_flight: u32,
}

/// The program that every rank of a pipeline stage runs.
#[derive(Clone, Debug)]
pub struct Stage {
    /// First and last layer of each of its model chunks, where they have any.
    pub chunks: Vec<Option<(u32, u32)>>,
    /// What runs.
    pub segments: Vec<Segment>,
    /// In which order.
    pub tasks: Vec<Task>,
    /// What it takes.
    pub memory: StageMemory,
}

impl Stage {
    /// The segment of a task.
    pub fn segment(&self, task: Task) -> &Segment {
        &self.segments[task.segment.0 as usize]
    }
}

/// Parameters and gradients that lie flat in the same order, of which every rank of a sharding group owns a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlatPlace {
    /// The pipeline stage.
    pub stage: usize,
    /// A rank's slice of the gradients.
    pub gradients: TensorId,
    /// A rank's slice of the parameters.
    pub parameters: TensorId,
    /// Gradient and parameter with their first element in the flat order.
    pub pieces: Vec<(TensorId, TensorId, u64)>,
    /// The sums of its gradients' squares by rows and columns, piece by piece, where the optimizer needs them.
    pub sums: Option<TensorId>,
}

/// The SPMD programs of all pipeline stages for one training step.
#[derive(Clone, Debug)]
pub struct StepGraph {
    /// The ranks.
    pub mesh: Mesh,
    /// Sizes that kernels need beside their tensors' shapes.
    pub dims: Dims,
    /// Micro-batches per step.
    pub micro_batches: u32,
    /// Whether the step sums its own gradients over all replicas, rather than earlier ones or none.
    pub sums_replicas: bool,
    /// Transfers between stages for every micro-batch.
    pub transfers: u32,
    /// All values; each belongs to the stage whose ops mention it.
    pub tensors: Vec<Tensor>,
    /// What is sharded over replicas.
    pub flats: Vec<FlatPlace>,
    /// One program per pipeline stage.
    pub stages: Vec<Stage>,
}

impl StepGraph {
    /// In how many runs a rank has its rows of what the tensor group gathers or reduces: those of a stream that is cut into
    /// chunks lie apart from each other.
    pub fn runs(&self, op: &Op) -> u32 {
        let whole = match op.kind {
            OpKind::Collective { collective: Collective::AllGather, group: Group::Tensor } => op.writes.first(),
            OpKind::Collective { collective: Collective::ReduceScatter, group: Group::Tensor } => op.reads.first(),
            _ => None,
        };
        let tensor = whole.map(|&id| self.tensor(id));
        let stream = tensor.filter(|whole| whole.role == Role::Activation && whole.local.rows == self.dims.tokens());
        stream.map_or(1, |_| self.dims.stream_blocks)
    }

    /// The tensor with this handle.
    pub fn tensor(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.index()]
    }

    /// The tensor that owns the bytes of `id`, through any number of views.
    pub fn storage_of(&self, id: TensorId) -> TensorId {
        match self.tensor(id).storage {
            super::Storage::Own => id,
            super::Storage::View { of, .. } | super::Storage::Slice { of } => self.storage_of(of),
        }
    }

    /// The tensor that owns the bytes of `id`, and the first byte there, on the rank with number `slice` in its
    /// sharding group.
    pub fn place_of(&self, id: TensorId, slice: u32) -> (TensorId, u64) {
        let tensor = self.tensor(id);
        let (of, offset) = match tensor.storage {
            super::Storage::Own => return (id, 0),
            super::Storage::View { of, offset } => (of, offset * tensor.dtype.size()),
            super::Storage::Slice { of } => (of, u64::from(slice) * tensor.bytes().0),
        };
        let (root, before) = self.place_of(of, slice);
        (root, before + offset)
    }

    /// The ops of all segments of all stages, each once.
    pub fn ops(&self) -> impl Iterator<Item = &Op> {
        self.stages.iter().flat_map(|stage| &stage.segments).flat_map(Segment::ops)
    }

    /// Ops that one rank of each stage runs in a step.
    pub fn op_instances(&self) -> usize {
        let of_stage =
            |stage: &Stage| stage.tasks.iter().map(|&task| stage.segment(task).graph.node_count()).sum::<usize>();
        self.stages.iter().map(of_stage).sum()
    }
}
