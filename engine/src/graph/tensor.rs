//! Values: their shapes, number formats, placements and storage.

use serde::Serialize;

use crate::scenario::Place;
use crate::units::Bytes;

use super::Part;
use crate::trace::Name;

/// A handle into the tensors of one graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct TensorId(u32);

impl TensorId {
    /// The handle of the tensor at `index`.
    pub fn new(index: usize) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "graphs have some ten thousand tensors")]
        Self(index as u32)
    }

    /// Its index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Number format in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DType {
    /// IEEE 754 single precision.
    F32,
    /// The upper half of an f32.
    Bf16,
    /// IEEE 754 half precision.
    F16,
    /// Eight bits (E4M3), with a scale for the whole tensor.
    F8,
    /// Eight bits (E5M2), with a scale for the whole tensor: of gradients.
    F8Gradient,
    /// Eight bits, with a scale in fp32 for every 128 elements.
    F8Block,
    /// Four bits, with a scale for every 16 elements and one for all, by rows and again by columns: about a byte for both.
    F4,
    /// 32 bits in memory, rounded to TF32 by matrix units.
    Tf32,
    /// Codes of eight bits, with a scale for every block of elements.
    U8,
    /// Unsigned integers: token ids.
    U32,
}

impl DType {
    /// Bytes of one element.
    pub fn size(self) -> u64 {
        match self {
            Self::F32 | Self::U32 | Self::Tf32 => 4,
            Self::Bf16 | Self::F16 => 2,
            Self::F8 | Self::F8Gradient | Self::F8Block | Self::F4 | Self::U8 => 1,
        }
    }

    /// Bytes of some elements with their scales.
    pub fn bytes(self, elements: u64) -> Bytes {
        match self {
            Self::F8 | Self::F8Gradient | Self::F4 => Bytes(elements.next_multiple_of(4) + 4),
            Self::F8Block => Bytes(elements.next_multiple_of(4) + elements.div_ceil(128) * 4),
            _ => Bytes(elements * self.size()),
        }
    }
}

/// A row-major matrix; vectors have one column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Shape {
    /// Rows: tokens of activations, inputs of weights.
    pub rows: u32,
    /// Columns: features of activations, outputs of weights.
    pub cols: u32,
}

impl Shape {
    /// A matrix.
    pub fn new(rows: u32, cols: u32) -> Self {
        Self { rows, cols }
    }

    /// A vector.
    pub fn vector(n: u32) -> Self {
        Self::new(n, 1)
    }

    /// Number of elements.
    pub fn elements(self) -> u64 {
        u64::from(self.rows) * u64::from(self.cols)
    }

    /// The part that one of `n` ranks holds of a tensor placed like `placement`; the last part is padded.
    pub fn local(self, placement: Placement, n: u32) -> Self {
        match placement {
            Placement::Shard(Dim::Rows) => Self { rows: self.rows.div_ceil(n), ..self },
            Placement::Shard(Dim::Cols) => Self { cols: self.cols.div_ceil(n), ..self },
            Placement::Replicate | Placement::Partial(_) => self,
        }
    }
}

/// A dimension of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dim {
    /// The first.
    Rows,
    /// The second.
    Cols,
}

/// How ranks of an axis hold a tensor. What is converted by which collective follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// Every rank holds all of it.
    Replicate,
    /// Every rank holds a contiguous slice.
    Shard(Dim),
    /// Every rank holds a term; the value is their reduction.
    Partial(super::Reduction),
}

/// Over which ranks of a stage weights, and what belongs to them, are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Spread {
    /// Over the tensor group, as the ops that use them ask.
    Tensor,
    /// Over none: every rank of the tensor group has them whole and uses them on its own tokens.
    Whole,
    /// Over the expert group, by experts.
    Experts,
}

/// What a tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Weights in the compute precision.
    Parameter,
    /// fp32 weights, kept beside bf16 ones.
    MasterWeight,
    /// First or second moment of the optimizer.
    Moment,
    /// Gradient accumulator of a parameter.
    Gradient,
    /// Gradient of a parameter as a micro-batch's kernels write it, beside the accumulator.
    ComputedGradient,
    /// A flat buffer that gradients are views of, or a slice of it.
    Bucket,
    /// A flat buffer that the gradients of one micro-batch are views of.
    GradientBuffer,
    /// A flat buffer that parameters are views of, or a slice of it.
    ParameterBucket,
    /// A flat buffer for parameters that are gathered only while they are used.
    ParameterBuffer,
    /// Token ids or targets of a micro-batch.
    Input,
    /// A value that a kernel computes.
    Activation,
    /// A few numbers that live through the step: loss, gradient norm, hyper-parameters.
    Scalar,
    /// Space in which a collective receives.
    Scratch,
}

impl Role {
    /// Whether the tensor lives from step to step.
    pub fn is_persistent(self) -> bool {
        !matches!(self, Self::Input | Self::Activation | Self::Scratch | Self::GradientBuffer | Self::ParameterBuffer)
    }
}

/// Where a tensor's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Storage {
    /// In an allocation of its own.
    Own,
    /// In another tensor's allocation, `offset` elements from its start.
    View {
        /// The tensor that owns the allocation.
        of: TensorId,
        /// First element.
        offset: u64,
    },
    /// In another tensor's allocation: the slice with the rank's number in its sharding group.
    Slice {
        /// The tensor that owns the allocation.
        of: TensorId,
    },
}

/// A value of the graph.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tensor {
    /// Its name, for example `layer 3 qkv weight`.
    pub name: Name,
    /// Shape of the whole value, over all ranks of the tensor group.
    pub shape: Shape,
    /// Shape on one rank.
    pub local: Shape,
    /// Number format.
    pub dtype: DType,
    /// What it is for.
    pub role: Role,
    /// The part of the model it belongs to.
    pub part: Part,
    /// How the tensor group holds it.
    pub placement: Placement,
    /// Over which ranks it is cut, if it is a weight or belongs to one.
    pub spread: Spread,
    /// Where its bytes are.
    pub storage: Storage,
    /// In whose memory.
    pub place: Place,
}

/// Every allocation starts and ends at a multiple of this: the strictest offset alignment of WebGPU's defaults.
pub const ALLOCATION_ALIGNMENT: u64 = 256;

impl Tensor {
    /// Bytes that it takes on one rank, as allocated.
    pub fn allocated(&self) -> Bytes {
        self.bytes().align_up(ALLOCATION_ALIGNMENT)
    }

    /// Bytes of its elements on one rank.
    pub fn bytes(&self) -> Bytes {
        self.dtype.bytes(self.local.elements())
    }
}
