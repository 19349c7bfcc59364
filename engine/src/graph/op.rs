//! Nodes of the graph: kernels, collectives, sends and receives.

use serde::Serialize;

use super::{Collective, Direction, TensorId, Transfer};
use crate::cluster::Group;
use crate::scenario::{Optimizer, Place};
use crate::trace::{Name, Phase, Stream};

/// A part of the model; pipeline stages are made of parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Token and position embedding.
    Embedding,
    /// A transformer layer.
    Layer(u32),
    /// Final norm, output projection and loss.
    Head,
}

/// What a convolution or a pooling sees of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Window {
    /// Pixels of a side.
    pub side: u32,
    /// Pixels from one to the next.
    pub stride: u32,
}

/// An activation that a matrix product applies to its result: one whose gradient needs no more than the result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Epilogue {
    /// None.
    #[default]
    None,
    /// `max(x, 0)`.
    Relu,
    /// Hyperbolic tangent.
    Tanh,
}

/// What is done to gradients on their way to other replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CompressionStep {
    /// `gradients → codes` of fewer bits.
    Narrow,
    /// `codes → gradients`: the sum of as many parts that lie behind each other.
    Widen {
        /// Parts.
        parts: u32,
    },
    /// `gradients → largest, error`: values and places; the error is added first, and becomes what is left.
    Select,
    /// `largest of all → gradients`: the sum of what so many ranks have sent.
    Scatter {
        /// Ranks.
        ranks: u32,
    },
    /// `gradients, second → first, error`: the gradients are added to the error, and every matrix of the sum is multiplied
    /// by its second factor.
    Project {
        /// Columns of a factor.
        rank: u32,
    },
    /// `first → first` with orthogonal columns.
    Orthogonalize {
        /// Columns of a factor.
        rank: u32,
    },
    /// `error, first → second`: the product of every transposed matrix with its first factor.
    Reproject {
        /// Columns of a factor.
        rank: u32,
    },
    /// `first, second → gradients, error`: the products, and what the mean of the ranks leaves.
    Expand {
        /// Columns of a factor.
        rank: u32,
        /// How many ranks' gradients are summed.
        ranks: u32,
    },
}

/// What an op computes. Reads and writes stand in the order in which the kernels bind them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OpKind {
    /// `ids, table → x`: rows of the table.
    Embedding,
    /// `ids, dx → dtable`.
    EmbeddingGrad,
    /// `x, table → y`: adds learned positions, or which text of a pair a token is of.
    Position,
    /// `dy → dtable`.
    PositionGrad,
    /// `x, weight[, shift] → y, statistics`: LayerNorm or RMSNorm.
    Norm,
    /// `x, weight, statistics, dy → dx`.
    NormGrad,
    /// `x, statistics, dy → dweight[, dshift]`.
    NormGradParameters,
    /// `a, b[, bias] → c`: `c = op(a)·op(b)`.
    Matmul {
        /// Read `a` transposed.
        transpose_a: bool,
        /// Read `b` transposed.
        transpose_b: bool,
        /// Add a bias row.
        bias: bool,
        /// Add to what is in `c`.
        accumulate: bool,
        /// What is done to the sum before it is written.
        epilogue: Epilogue,
    },
    /// `qkv → qkv`: rotates queries and keys.
    Rope {
        /// Rotate back: the gradient.
        inverse: bool,
    },
    /// `qkv → out, logsumexp`: causal attention, scores never stored.
    Attention,
    /// `qkv, out, logsumexp, dout → dqkv, delta`.
    AttentionGrad,
    /// `qkv → scores`: all products of queries and keys, stored.
    AttentionScores,
    /// `scores → probabilities`: causal softmax.
    AttentionSoftmax,
    /// `probabilities, qkv → out`.
    AttentionValues,
    /// `probabilities, qkv, dout → dprobabilities, dv`.
    AttentionValuesGrad,
    /// `probabilities, dprobabilities → dscores`.
    AttentionSoftmaxGrad,
    /// `dscores, qkv, dv → dqkv`.
    AttentionScoresGrad,
    /// `queries, keys and values, rotated key → qkv`: rotates, and joins every head's parts (latent attention).
    LatentJoin,
    /// `dqkv → dqueries, dkeys and values, drotated key`.
    LatentJoinGrad,
    /// `qkv → kv`: keys and values apart, to be handed on.
    KeysValues,
    /// `dkv → dqkv`, added to what is there.
    KeysValuesGrad,
    /// `qkv, kv → out, logsumexp`: this rank's queries on one of as many parts of the sequence's keys and values; adds
    /// to what other parts gave.
    ContextAttention {
        /// Parts of the sequence.
        parts: u32,
        /// Which part: the rank's own first, then those of the ranks before it.
        part: u32,
    },
    /// `qkv, kv, out, logsumexp, dout → dqkv, dkv, delta`; adds to what other parts gave.
    ContextAttentionGrad {
        /// Parts of the sequence.
        parts: u32,
        /// Which part.
        part: u32,
    },
    /// `scores → weights, assignment, choices`: the best experts of every token, their rows, and a softmax over their
    /// scores.
    Route,
    /// `scores, assignment, dweights → dscores`.
    RouteGrad,
    /// `x, assignment → rows`: a row for every token and expert, in the order of the experts.
    Dispatch,
    /// `drows, assignment → dx`.
    DispatchGrad,
    /// `rows, weights, assignment → y`: the weighted sum of what a token's experts gave.
    Combine,
    /// `rows, weights, assignment, dy → drows, dweights`.
    CombineGrad,
    /// `a, b → c` as `Matmul`, for every expert with its rows and its weights, which lie below each other.
    GroupedMatmul {
        /// Read `a` transposed.
        transpose_a: bool,
        /// Read every expert's `b` transposed.
        transpose_b: bool,
        /// Add to what is in `c`.
        accumulate: bool,
    },
    /// `x → y`.
    Gelu,
    /// `x, dy → dx`.
    GeluGrad,
    /// `gate and up, interleaved → y`.
    SwiGlu,
    /// `x, dy → dx`.
    SwiGluGrad,
    /// `gate and up, interleaved → silu(gate)`: the first of the two kernels that SwiGLU is where nothing is fused.
    Silu,
    /// `gate and up, dsilu, dup → dgate and dup`.
    SiluGrad,
    /// `gate and up, silu(gate) → silu(gate) · up`: the second.
    Gate,
    /// `gate and up, silu(gate), dy → dsilu, dup`.
    GateGrad,
    /// `a, b → a + b`.
    Add,
    /// `x → y, mask`: sets some elements to zero, and scales the others.
    Dropout,
    /// `dy, mask → dx`.
    DropoutGrad,
    /// `x, y[, bias] → x + y + bias[, mask]`: with a mask, elements of `y + bias` are dropped first.
    Residual {
        /// Add a bias row.
        bias: bool,
    },
    /// `dy → dbias`, added to what is there.
    ColumnSum,
    /// `logits → max` over this rank's columns.
    RowMax,
    /// `logits, max, targets → (Σ exp(logit − max), target logit − max)` over this rank's columns.
    SumExp,
    /// `sums → loss`, added to what is there.
    CrossEntropy,
    /// `logits, max, sums, targets → dlogits`.
    CrossEntropyGrad,
    /// `→ x`: sets every element.
    Fill(f32),
    /// `x → max(x, 0)`.
    Relu,
    /// `y, dy → dx`.
    ReluGrad,
    /// `x → y`: hyperbolic tangent.
    Tanh,
    /// `y, dy → dx`.
    TanhGrad,
    /// `x, positions → rows`: some rows of every sequence.
    GatherRows,
    /// `drows, positions → dx`: zero in all other rows.
    GatherRowsGrad,
    /// `x, token → y`: a learned token before those of every sequence.
    ClassToken,
    /// `dy → dx`.
    ClassTokenGrad,
    /// `dy → dtoken`, added to what is there.
    ClassTokenWeightGrad,
    /// `x, weight → y`: rows are pixels, columns channels; a kernel's pixels and channels are the weight's rows.
    Convolution(Window),
    /// `dy, weight → dx`.
    ConvolutionInputGrad(Window),
    /// `x, dy → dweight`, added to what is there.
    ConvolutionWeightGrad(Window),
    /// `x, weight, shift → y, statistics`: every channel over all pixels of the micro-batch.
    BatchNorm,
    /// `x, weight, statistics, dy → dx, sums`: those of `dy` and of its products with `x`.
    BatchNormGrad,
    /// `sums → dweight, dshift`, added to what is there.
    BatchNormGradParameters,
    /// `x, weight, shift → y, statistics`: as many groups of channels of every image by themselves.
    GroupNorm(u32),
    /// `x, weight, statistics, dy → dx`.
    GroupNormGrad(u32),
    /// `x, statistics, dy → dweight, dshift`, added to what is there.
    GroupNormGradParameters(u32),
    /// `x → y`: the largest of a window, or the mean of all pixels.
    Pool(Window),
    /// `x, y, dy → dx`.
    PoolGrad(Window),
    /// `ids, table → vectors`: for every sample and table the sum of some rows.
    EmbeddingBag,
    /// `ids, dvectors → table, state`: updates the rows that were looked up, at once (Khudia et al. 2021, "FBGEMM").
    EmbeddingBagUpdate,
    /// `dense, vectors → features`: a sample's vectors beside each other, or the first and all dot products.
    Interaction,
    /// `dense, vectors, dfeatures → ddense, dvectors`.
    InteractionGrad,
    /// `x₀, x, u → x₀ ⊙ u + x`.
    Cross,
    /// `x₀, u, dy → dx₀, du`.
    CrossGrad,
    /// `logits, targets → (Σ exp(logit), target logit)`, of few classes.
    ClassSums,
    /// `logits, sums, targets → dlogits`.
    ClassSumsGrad,
    /// `logits, targets → loss`, added to what is there: binary cross-entropy.
    BinaryLoss,
    /// `logits, targets → dlogits`.
    BinaryLossGrad,
    /// `gradient → norm²`, added to what is there.
    SumSquares {
        /// How many ranks of the group that sums the norm hold this gradient, besides those of the tensor group.
        copies: u32,
    },
    /// `x → sum`: adds to what is there.
    Accumulate,
    /// `gradient, norm², hyper → parameter, states…`: for AdamW the first and the second moment.
    Update {
        /// By which rule.
        optimizer: Optimizer,
        /// Elements with weight decay; they come first. All of them for `u64::MAX`.
        decayed: u64,
        /// Whether the op updates this rank's slice of a flat group, whose elements are counted from the group's first.
        sliced: bool,
        /// How often in a step: once, or for every replica that pushes gradients.
        times: u32,
    },
    /// `gradient, norm², hyper → momentum, first moment`: of a slice, for a rule that needs its matrices whole.
    Momentum,
    /// `matrix → matrix` with singular values near one, in place: Newton–Schulz iterations.
    Orthogonalize,
    /// `gradient → squares`: of a slice, summed by rows and by columns of the matrices in it.
    FactorSums,
    /// `outer parameters…, parameters… → outer gradient, its views…`: how far each moved since the last outer step.
    OuterGradient,
    /// `outer gradient, its views… → outer parameters, outer momentum, their views…, parameters…, copies of these…`.
    OuterStep {
        /// How many replicas' outer gradients were added up.
        replicas: u32,
    },
    /// `newest, older… → older…`: every value takes the next one's place. Nothing is done where tensors are pointers.
    Rotate,
    /// `→ inputs…`: waits for the samples of a micro-batch from the loader.
    Load,
    /// `x → x` in the host's memory.
    ToHost,
    /// `x in the host's memory, … → x`; not before all that it reads is there.
    FromHost,
    /// `gradient, norm², hyper → parameter, states…`, all but the norm and the hyper-parameters outside the device.
    HostUpdate {
        /// By which rule.
        optimizer: Optimizer,
        /// Where the states live.
        place: Place,
        /// The first elements of the parameter that decay.
        decayed: u64,
        /// Whether they are counted over the slices of all ranks that share the parameter.
        sliced: bool,
    },
    /// `x → y` in another number format.
    Cast,
    /// Of gradients, between the backward pass and other replicas.
    Compression(CompressionStep),
    /// `x → chunks…`: views of it, by rows; nothing is done.
    Split,
    /// `chunks… → x`: all views of it are there; nothing is done.
    Join,
    /// Communication among the ranks of a group.
    Collective {
        /// What.
        collective: Collective,
        /// Among whom.
        group: Group,
    },
    /// Hands a tensor to the neighbouring stage.
    Send(Transfer),
    /// Takes it: what was sent to the next stage comes from the stage before.
    Receive(Transfer),
}

impl OpKind {
    /// A plain matmul.
    pub const MATMUL: Self = Self::Matmul {
        transpose_a: false,
        transpose_b: false,
        bias: false,
        accumulate: false,
        epilogue: Epilogue::None,
    };

    /// Whether a matmul adds to what is there: the gradient of a weight.
    pub fn accumulates(self) -> bool {
        matches!(
            self,
            Self::Matmul { accumulate: true, .. }
                | Self::GroupedMatmul { accumulate: true, .. }
                | Self::ConvolutionWeightGrad(_)
        )
    }

    /// The class under which tables sum it up.
    pub fn class(self) -> &'static str {
        match self {
            Self::Embedding
            | Self::EmbeddingGrad
            | Self::Position
            | Self::PositionGrad
            | Self::ClassToken
            | Self::ClassTokenGrad
            | Self::ClassTokenWeightGrad => "embedding",
            Self::EmbeddingBag | Self::EmbeddingBagUpdate => "embedding_bag",
            Self::Interaction | Self::InteractionGrad | Self::Cross | Self::CrossGrad => "interaction",
            Self::Norm | Self::NormGrad | Self::NormGradParameters => "norm",
            Self::BatchNorm | Self::BatchNormGrad | Self::BatchNormGradParameters => "batch_norm",
            Self::GroupNorm(_) | Self::GroupNormGrad(_) | Self::GroupNormGradParameters(_) => "group_norm",
            Self::Convolution(_) | Self::ConvolutionInputGrad(_) | Self::ConvolutionWeightGrad(_) => "convolution",
            Self::Pool(_) | Self::PoolGrad(_) => "pooling",
            Self::Matmul { .. } => "matmul",
            Self::GroupedMatmul { .. } => "expert_matmul",
            Self::Route | Self::RouteGrad | Self::Dispatch | Self::DispatchGrad | Self::Combine | Self::CombineGrad => {
                "routing"
            }
            Self::Rope { .. } | Self::LatentJoin | Self::LatentJoinGrad | Self::KeysValues | Self::KeysValuesGrad => {
                "rope"
            }
            Self::Attention
            | Self::AttentionGrad
            | Self::ContextAttention { .. }
            | Self::ContextAttentionGrad { .. }
            | Self::AttentionScores
            | Self::AttentionSoftmax
            | Self::AttentionValues
            | Self::AttentionValuesGrad
            | Self::AttentionSoftmaxGrad
            | Self::AttentionScoresGrad => "attention",
            Self::Gelu
            | Self::GeluGrad
            | Self::SwiGlu
            | Self::SwiGluGrad
            | Self::Silu
            | Self::SiluGrad
            | Self::Gate
            | Self::GateGrad
            | Self::Relu
            | Self::ReluGrad
            | Self::Tanh
            | Self::TanhGrad => "activation",
            Self::Add
            | Self::Accumulate
            | Self::Residual { .. }
            | Self::Dropout
            | Self::DropoutGrad
            | Self::ColumnSum
            | Self::GatherRows
            | Self::GatherRowsGrad => "elementwise",
            Self::RowMax
            | Self::SumExp
            | Self::CrossEntropy
            | Self::CrossEntropyGrad
            | Self::ClassSums
            | Self::ClassSumsGrad
            | Self::BinaryLoss
            | Self::BinaryLossGrad => "loss",
            Self::Fill(_)
            | Self::SumSquares { .. }
            | Self::Update { .. }
            | Self::Momentum
            | Self::Orthogonalize
            | Self::FactorSums
            | Self::OuterGradient
            | Self::OuterStep { .. }
            | Self::Rotate => "optimizer",
            Self::Cast => "cast",
            Self::Load => "load",
            Self::ToHost => "to_host",
            Self::FromHost => "from_host",
            Self::HostUpdate { .. } => "host_update",
            Self::Compression(_) => "compression",
            Self::Split => "split",
            Self::Join => "join",
            Self::Collective { collective: Collective::AllReduce(_), .. } => "all_reduce",
            Self::Collective { collective: Collective::ReduceScatter, .. } => "reduce_scatter",
            Self::Collective { collective: Collective::AllGather, .. } => "all_gather",
            Self::Collective { collective: Collective::AllToAll | Collective::AllToAllOnce { .. }, .. } => "all_to_all",
            Self::Collective { collective: Collective::Shift, .. } => "shift",
            Self::Collective { collective: Collective::Push, .. } => "push",
            Self::Collective { collective: Collective::Pull, .. } => "pull",
            Self::Send(_) => "send",
            Self::Receive(_) => "receive",
        }
    }

    /// The stream on which it runs.
    pub fn stream(self) -> Stream {
        match self {
            Self::Collective { group, .. } => group_stream(group),
            Self::Send(Transfer { direction: Direction::Next, .. }) => Stream::SendNext,
            Self::Send(Transfer { direction: Direction::Previous, .. }) => Stream::SendPrevious,
            Self::Receive(Transfer { direction: Direction::Next, .. }) => Stream::ReceivePrevious,
            Self::Receive(Transfer { direction: Direction::Previous, .. }) => Stream::ReceiveNext,
            Self::Load => Stream::Input,
            Self::ToHost => Stream::ToHost,
            Self::FromHost => Stream::FromHost,
            Self::HostUpdate { .. } => Stream::Host,
            // What was reduced is added where it arrives: on the stream of compute it would hold up the backward pass.
            // So would what makes gradients smaller.
            Self::Accumulate | Self::Compression(_) => Stream::DataComm,
            _ => Stream::Compute,
        }
    }
}

/// The stream of a group's collectives.
fn group_stream(group: Group) -> Stream {
    match group {
        Group::Tensor => Stream::TensorComm,
        Group::Context => Stream::ContextComm,
        Group::Expert => Stream::ExpertComm,
        Group::Data | Group::Shard | Group::Replica | Group::ExpertData | Group::ExpertShard | Group::ExpertReplica => {
            Stream::DataComm
        }
        Group::TiedEmbedding | Group::Model | Group::World => Stream::ModelComm,
    }
}

/// A node of the graph.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Op {
    /// What it computes.
    pub kind: OpKind,
    /// What it is called, for example `layer 3 qkv`.
    pub name: Name,
    /// The part of the model it belongs to.
    pub part: Part,
    /// The part of the step it belongs to.
    pub phase: Phase,
    /// What it reads.
    pub reads: Vec<TensorId>,
    /// What it writes (and, where it accumulates, also reads).
    pub writes: Vec<TensorId>,
}
