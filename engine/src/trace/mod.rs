//! The common result of both executors: what ran where, when, and where the figures come from.
//!
//! A trace is a set of **tracks** (one per stream of a rank, or of a class of identical ranks), **spans** on
//! them, **flows** that join a send to its receive, and **counters** over time.
//! Spans on one track never overlap; a verifier checks it.

use serde::{Deserialize, Serialize};

use crate::units::{Bytes, Nanos};

mod imported;
mod names;
mod training_log;
mod verify;

pub use imported::{Activity, Collective, Imported, Launch, Step};
pub use names::{AXES, CLASSES, KnownName};
pub use training_log::{LogStep, TrainingLog};
pub use verify::TraceError;

use names::{known_axis, known_class};

/// A name that many share: of an op, of its tensors, of its spans.
pub type Name = std::sync::Arc<str>;

/// The name that these parts make. A graph has tens of thousands of them: formatting would cost more than all else.
pub(crate) fn name(parts: &[&str]) -> Name {
    parts.concat().into()
}

/// Where a figure comes from. Shown beside every figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Computed by the simulator from a cost model.
    Modelled,
    /// Kernels ran on this device.
    Executed,
    /// Read from a file that another tool wrote.
    Imported,
}

impl Origin {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Modelled => "modelled",
            Self::Executed => "executed",
            Self::Imported => "imported",
        }
    }
}

/// An in-order queue of one rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Kernels.
    Compute,
    /// Collectives of the tensor-parallel group.
    TensorComm,
    /// Exchanges of the context-parallel group: keys and values of attention.
    ContextComm,
    /// Exchanges of the expert-parallel group: tokens to their experts and back.
    ExpertComm,
    /// Collectives of the data-parallel group.
    DataComm,
    /// Collectives that span pipeline stages: tied embeddings, the gradient norm.
    ModelComm,
    /// Sends to the next pipeline stage.
    SendNext,
    /// Receives from the previous pipeline stage.
    ReceivePrevious,
    /// Sends to the previous pipeline stage.
    SendPrevious,
    /// Receives from the next pipeline stage.
    ReceiveNext,
    /// Copies to the host's memory.
    ToHost,
    /// Copies from it.
    FromHost,
    /// The host's own work: updates of what lives there.
    Host,
    /// Samples from the loader.
    Input,
}

impl Stream {
    /// All streams, in the order in which a rank shows them.
    pub const ALL: [Self; 14] = [
        Self::Compute,
        Self::TensorComm,
        Self::ContextComm,
        Self::ExpertComm,
        Self::DataComm,
        Self::ModelComm,
        Self::SendNext,
        Self::ReceivePrevious,
        Self::SendPrevious,
        Self::ReceiveNext,
        Self::ToHost,
        Self::FromHost,
        Self::Host,
        Self::Input,
    ];

    /// The name in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::TensorComm => "tp comm",
            Self::ContextComm => "cp comm",
            Self::ExpertComm => "ep comm",
            Self::DataComm => "dp comm",
            Self::ModelComm => "model comm",
            Self::SendNext => "send next",
            Self::ReceivePrevious => "recv prev",
            Self::SendPrevious => "send prev",
            Self::ReceiveNext => "recv next",
            Self::ToHost => "to host",
            Self::FromHost => "from host",
            Self::Host => "host",
            Self::Input => "input",
        }
    }

    /// Position in [`Stream::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// Whether the stream carries data between ranks.
    pub fn is_communication(self) -> bool {
        self != Self::Compute
    }
}

/// What a span did, at the granularity in which breakdowns are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Forward computation of a micro-batch.
    Forward,
    /// Forward computation repeated in the backward pass to save memory.
    Recompute,
    /// Backward computation of a micro-batch.
    Backward,
    /// Gradients of weights, where the schedule runs them apart from the backward computation.
    WeightGradient,
    /// Gradient reduction, clipping and the optimizer.
    Update,
}

impl Phase {
    /// All phases in the order of a step.
    pub const ALL: [Self; 5] = [Self::Forward, Self::Recompute, Self::Backward, Self::WeightGradient, Self::Update];

    /// The name in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Recompute => "recompute",
            Self::Backward => "backward",
            Self::WeightGradient => "weight_gradient",
            Self::Update => "update",
        }
    }
}

/// An index into [`Trace::labels`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LabelId(pub u32);

/// An index into [`Trace::tracks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TrackId(pub u32);

/// What a span is called and which kind of op it is: shared by all its repetitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The op's name, for example `layer 3 qkv`.
    pub name: Name,
    /// The op's class, for example `matmul`: the rows of tables; one of [`CLASSES`].
    #[serde(deserialize_with = "known_class")]
    pub class: KnownName,
    /// The part of the step it belongs to.
    pub phase: Phase,
    /// Floating-point work of one execution on one rank.
    pub flops: u64,
    /// Bytes read and written, or moved, by one execution on one rank.
    pub bytes: u64,
}

/// A stream of a rank, or of a class of identical ranks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    /// The process of the trace: index of the rank or the class.
    pub group: u32,
    /// The pipeline stage of the rank.
    pub stage: u32,
    /// The first rank that this track stands for.
    pub rank: u32,
    /// How many identical ranks it stands for (1 when executed or unfolded).
    pub ranks: u32,
    /// The stream.
    pub stream: Stream,
    /// What another tool calls it; ours are called as their stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
}

impl Track {
    /// What it is called.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(self.stream.name())
    }
}

/// An op on a stream with start and duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Where.
    pub track: TrackId,
    /// What.
    pub label: LabelId,
    /// When it started.
    pub start: Nanos,
    /// How long it took.
    pub duration: Nanos,
    /// The micro-batch, or [`Span::NO_MICRO_BATCH`].
    pub micro_batch: u32,
}

impl Span {
    /// The micro-batch of spans that belong to the whole step.
    pub const NO_MICRO_BATCH: u32 = u32::MAX;

    /// When it ended.
    pub fn end(&self) -> Nanos {
        self.start + self.duration
    }
}

/// A send joined to its receive: indices into [`Trace::spans`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// The sending span.
    pub from: u32,
    /// The receiving span.
    pub to: u32,
}

/// Time in which a group's compute stream was idle because the host had not yet issued the next op.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostWait {
    /// The rank or class, as in [`Track::group`].
    pub group: u32,
    /// From when.
    pub from: Nanos,
    /// Until when.
    pub until: Nanos,
}

/// What memory is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryCategory {
    /// Weights in the compute precision.
    Parameters,
    /// Gradient accumulators.
    Gradients,
    /// Moments and master weights.
    OptimizerState,
    /// Values kept from forward to backward.
    Activations,
    /// Temporaries and communication buffers.
    Buffers,
}

impl MemoryCategory {
    /// All categories, from the bottom of a stacked chart to its top.
    pub const ALL: [Self; 5] =
        [Self::Parameters, Self::Gradients, Self::OptimizerState, Self::Activations, Self::Buffers];

    /// The name in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parameters => "parameters",
            Self::Gradients => "gradients",
            Self::OptimizerState => "optimizer_state",
            Self::Activations => "activations",
            Self::Buffers => "buffers",
        }
    }
}

/// Bytes by category.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryUse {
    /// Weights in the compute precision.
    pub parameters: Bytes,
    /// Gradient accumulators.
    pub gradients: Bytes,
    /// Moments and master weights.
    pub optimizer_state: Bytes,
    /// Values kept from forward to backward.
    pub activations: Bytes,
    /// Temporaries and communication buffers.
    pub buffers: Bytes,
}

impl MemoryUse {
    /// The bytes of one category.
    pub fn get(&self, category: MemoryCategory) -> Bytes {
        match category {
            MemoryCategory::Parameters => self.parameters,
            MemoryCategory::Gradients => self.gradients,
            MemoryCategory::OptimizerState => self.optimizer_state,
            MemoryCategory::Activations => self.activations,
            MemoryCategory::Buffers => self.buffers,
        }
    }

    /// The bytes of one category, to be changed.
    pub fn get_mut(&mut self, category: MemoryCategory) -> &mut Bytes {
        match category {
            MemoryCategory::Parameters => &mut self.parameters,
            MemoryCategory::Gradients => &mut self.gradients,
            MemoryCategory::OptimizerState => &mut self.optimizer_state,
            MemoryCategory::Activations => &mut self.activations,
            MemoryCategory::Buffers => &mut self.buffers,
        }
    }

    /// All categories together.
    pub fn total(&self) -> Bytes {
        MemoryCategory::ALL.iter().map(|&category| self.get(category)).sum()
    }

    /// Raises every category to at least what `other` uses.
    pub fn raise_to(&mut self, other: &Self) {
        for category in MemoryCategory::ALL {
            let mine = self.get_mut(category);
            *mine = (*mine).max(other.get(category));
        }
    }

    /// The category that uses the most, the first of equals.
    pub fn biggest(&self) -> MemoryCategory {
        MemoryCategory::ALL
            .into_iter()
            .rev()
            .max_by_key(|&category| self.get(category))
            .unwrap_or(MemoryCategory::Parameters)
    }
}

/// Memory in use on one group of ranks from a moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemorySample {
    /// From when.
    pub at: Nanos,
    /// How much, for what.
    pub used: MemoryUse,
}

/// Memory over time of one group of ranks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryCurve {
    /// The rank or class, as in [`Track::group`].
    pub group: u32,
    /// Its pipeline stage.
    pub stage: u32,
    /// Samples in the order of time; each holds until the next.
    pub samples: Vec<MemorySample>,
}

/// What a rank sent to another on an axis of the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// The axis: one of [`AXES`].
    #[serde(deserialize_with = "known_axis")]
    pub axis: KnownName,
    /// The rank that sent.
    pub from: u32,
    /// The rank that received.
    pub to: u32,
    /// During the step.
    pub bytes: Bytes,
}

/// What both executors return.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// Where its figures come from.
    pub origin: Origin,
    /// Names of spans.
    pub labels: Vec<Label>,
    /// Streams of ranks.
    pub tracks: Vec<Track>,
    /// Ops with start and end.
    pub spans: Vec<Span>,
    /// Sends joined to receives.
    pub flows: Vec<Flow>,
    /// Waits for the host.
    pub host_waits: Vec<HostWait>,
    /// Memory over time.
    pub memory: Vec<MemoryCurve>,
    /// What ranks sent each other, where an execution counted it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traffic: Vec<Traffic>,
    /// From the first start to the last end.
    pub step_time: Nanos,
}

impl Trace {
    /// The first group of ranks of a stage, where the trace has the stage.
    pub fn group_of_stage(&self, stage: u32) -> Option<u32> {
        self.tracks.iter().find(|track| track.stage == stage).map(|track| track.group)
    }

    /// The track of a span.
    pub fn track(&self, span: &Span) -> &Track {
        &self.tracks[span.track.0 as usize]
    }

    /// The label of a span.
    pub fn label(&self, span: &Span) -> &Label {
        &self.labels[span.label.0 as usize]
    }
}
