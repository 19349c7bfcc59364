//! What can go wrong in an execution, and what to do about it.

use crate::memory::BudgetTooSmall;
use crate::units::Bytes;

/// Why a scenario cannot be executed, or why an execution stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExecError {
    /// There is no GPU that can compute.
    #[error("no GPU adapter that can run compute shaders ({0}); use the cpu backend, or install a Vulkan driver")]
    NoAdapter(String),
    /// An adapter cannot run the kernels.
    #[error(
        "the adapter `{adapter}` has {limit} = {allowed}, kernels need {needed}; use another adapter or the cpu backend"
    )]
    Limit {
        /// Its name.
        adapter: String,
        /// The limit, as WebGPU calls it.
        limit: &'static str,
        /// What kernels need.
        needed: u64,
        /// What the adapter allows.
        allowed: u64,
    },
    /// A step has a buffer, or gives a kernel a part of one, that is larger than the device allows.
    #[error(
        "the step needs {needed} in one buffer, this device allows {allowed}; use a smaller model or micro-batch, or the cpu backend"
    )]
    TooLarge {
        /// What the step needs.
        needed: Bytes,
        /// What the device allows.
        allowed: Bytes,
    },
    /// The program was built without the GPU backend.
    #[error("this program was built without the wgpu backend; use the cpu backend")]
    NotBuiltIn,
    /// Narrow weights have scales of many elements, so they are not dealt out.
    #[error(
        "strategy.precision = {0} can be executed with strategy.zero_stage = 0 only: elements of a weight share their scales; set either to something else"
    )]
    NarrowSharded(&'static str),
    /// Kernels cannot be bound to the chunks in which tensor ranks communicate.
    #[error(
        "a rank's rows of a chunk of strategy.tensor_chunks must take a multiple of 256 bytes with learned positions, and be a multiple of 4 numbers with dropout, to be executed; change strategy.tensor_chunks, strategy.micro_batch or model.hidden"
    )]
    TensorChunks,
    /// Both ends of a pipeline hold a copy of the model, which would step apart.
    #[error(
        "a pipeline that holds two copies of the model can be executed with strategy.update = synchronous only; set strategy.update or strategy.schedule to something else"
    )]
    UpdateRule,
    /// Owners know the norm of no replica's gradient.
    #[error(
        "with strategy.update = asynchronous the owner of a slice knows the norm of no replica's gradients, so it cannot clip what it applies; set run.gradient_clip = 0"
    )]
    Clipping,
    /// A step whose gradients overflow is left out, but what was kept of them is not; and replicas that step apart would find
    /// different loss scales, or undo one of another step.
    #[error(
        "with strategy.precision = fp16 gradients may overflow, which strategy.gradient_compression = top_k or low_rank would keep, and which replicas find apart unless strategy.update = synchronous; set strategy.precision = \"bf16\" or \"fp32\" to execute it"
    )]
    Overflow,
    /// Tables of a recommender are not dealt out evenly.
    #[error(
        "on several replicas a recommender can be executed only where all tables have as many rows and lookups and their number divides by strategy.data_parallel; change model.table_rows and model.lookups, or set strategy.data_parallel = 1"
    )]
    Tables,
    /// Samples are not dealt out evenly by sequence parallelism.
    #[error(
        "encoders with strategy.sequence_parallel can be executed only where strategy.micro_batch is a multiple of strategy.tensor_parallel; change one of them"
    )]
    Samples,
    /// Rows of experts are not dealt out evenly.
    #[error(
        "the rows of an expert must divide by the ranks over which sequence parallelism spreads tokens; change strategy.capacity_factor so that tokens · experts_per_token / experts · factor is a multiple of strategy.tensor_parallel"
    )]
    Capacity,
    /// More ranks than buffers of one device are shared among.
    #[error(
        "an execution has at most {most} ranks on one device, this scenario has {ranks}; use fewer, or the preset `tiny-llama-1`"
    )]
    TooManyRanks {
        /// Ranks of the scenario.
        ranks: u32,
        /// What is allowed.
        most: u32,
    },
    /// The plan needs more memory than an execution may use.
    #[error(
        "the plan needs {needed} over all ranks, an execution may use {limit}; use a smaller model or micro-batch, or raise run.memory_limit where the device has more"
    )]
    TooMuchMemory {
        /// Planned, over all ranks.
        needed: Bytes,
        /// The limit.
        limit: Bytes,
    },
    /// A budget for paging is smaller than what one op needs.
    #[error(transparent)]
    PoolBudget(#[from] BudgetTooSmall),
    /// The step has more kernel calls than can be recorded.
    #[error("the step has {ops} ops over all ranks, an execution at most {most}; use fewer layers or micro-batches")]
    TooManyOps {
        /// Ops over all ranks.
        ops: usize,
        /// The limit.
        most: usize,
    },
    /// The text has characters that the vocabulary has no room for, or is too short.
    #[error(
        "the text `{name}` has {characters} distinct characters and {length} in all; model.vocab = {vocab} must be at least the former, data.sequence_length below the latter"
    )]
    Text {
        /// The dataset.
        name: String,
        /// Distinct characters.
        characters: u32,
        /// All characters.
        length: usize,
        /// The model's vocabulary.
        vocab: u32,
    },
    /// A masked token needs an id beside those of the characters.
    #[error(
        "the text `{name}` has {characters} distinct characters and one more id stands for those that are masked; model.vocab = {vocab} must be at least {}", characters + 1
    )]
    Mask {
        /// The dataset.
        name: String,
        /// Distinct characters.
        characters: u32,
        /// The model's vocabulary.
        vocab: u32,
    },
    /// There are more classes in the images than the model has.
    #[error("the images `{name}` have {classes} classes; model.classes = {found} must be at least as many")]
    Classes {
        /// The dataset.
        name: String,
        /// Its classes.
        classes: u32,
        /// Those of the model.
        found: u32,
    },
    /// What was saved of a run cannot be read.
    #[error("the checkpoint cannot be used: {0}")]
    Checkpoint(String),
    /// A file or folder could not be read or written.
    #[error("{what}: {why}")]
    Storage {
        /// What should have been done, with the path.
        what: String,
        /// What the system said.
        why: String,
    },
    /// A worker could not be started, or has stopped.
    #[error("{0}; the run has ended, start it again or set run.placement to \"device\"")]
    Workers(String),
    /// Ranks cannot be placed elsewhere in a browser.
    #[error("run.placement = {0} needs threads and sockets, which a page has not; set it to \"device\"")]
    Placement(&'static str),
    /// The device reported an error.
    #[error("the device stopped: {0}; the run has ended, start it again or use the cpu backend")]
    Device(String),
    /// The driver has given the device up, or the adapter is gone.
    #[error("the device was lost: {0}; the run has ended, start it again or use the cpu backend")]
    Lost(String),
    /// There was less memory than the plan needs.
    #[error(
        "the device has too little memory left: {0}; the run has ended, close what else uses the device, use a smaller model or micro-batch, or the cpu backend"
    )]
    OutOfMemory(String),
    /// The programs of the ranks wait for each other in a circle; the verifier excludes it.
    #[error("the schedule is circular: rank {rank} waits in task {task}; this is a defect, please report it")]
    Stuck {
        /// The first waiting rank.
        rank: u32,
        /// Where it waits.
        task: usize,
    },
    /// A kernel was called with other buffers than it expects.
    #[error("kernel call: {0}; this is a defect, please report it")]
    Kernel(String),
    /// The user cancelled.
    #[error("cancelled")]
    Cancelled,
}
