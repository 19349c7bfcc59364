//! What the user says: model, cluster, strategy, data, run.
//!
//! [`ScenarioFile`] is what was written (serde), [`Scenario`] is what was checked: its fields are private, so a
//! scenario that exists can be lowered, simulated and (if small) executed.

mod budget;
mod check;
mod check_cluster;
mod check_expert;
mod check_input;
mod check_model;
mod check_pipeline;
mod check_resilience;
mod check_samples;
mod check_sharding;
mod check_storage;
mod check_transfer;
mod check_update;
pub mod compression;
mod describe;
mod error;
mod file;
pub mod input;
pub mod link;
mod magnitude;
pub mod memory_pool;
pub mod offload;
pub mod optimizer;
mod parse;
pub mod pipeline;
pub mod placement;
mod presets;
pub mod resilience;
mod settings;
pub mod storage;
mod strategy;
pub mod transfer;
pub mod update_rule;

pub use budget::{Budget, BudgetFile};
pub use check::{check, check_parts, check_strategy, datasets};
pub use check_model::check_model;
pub use check_resilience::state_of;
pub use compression::Compression;
pub use error::ScenarioError;
pub use file::{ClusterFile, DataFile, RunFile, ScenarioFile, StrategyFile};
pub use input::{
    Access, AccessFile, AccessPattern, Admission, Cache, CacheFile, CacheMedium, CachePlacement, CachePolicy, Input,
    Samples, SamplesFile, Sampling, WarmUp,
};
pub use link::{LinkError, Linked, is_link, link, linked};
pub use memory_pool::{AllocatorName, PoolName, PoolPolicy};
pub use offload::Place;
pub use optimizer::Optimizer;
pub use parse::{MAX_FILE_BYTES, Opened, open, schema};
pub use pipeline::{ChunkLayout, PipelineSchedule, ScheduleName};
pub use placement::{Placement, PlacementName};
pub use presets::{DEFAULT_PRESET, PresetInfo, preset_file, presets};
pub use resilience::{CheckpointFile, CheckpointMode, Checkpointing, Reliability, ReliabilityFile, Resilience};
use serde::Serialize;
pub use settings::FrameworkSettings;
pub use storage::{
    LoaderFile, LoaderSettings, Preprocessing, PreprocessingFile, SampleFormat, Servers, Storage, StorageFile,
};
pub use strategy::{
    AttentionKernel, ContextMethod, ExpertDispatch, GradientFormat, Kernels, Precision, Recompute, RecomputeModule,
    Strategy, ZeroStage,
};

pub use check_transfer::MAX_CHUNKS;
pub use transfer::{Transfer, TransferFile, TransferMethod};
pub use update_rule::{UpdateName, UpdateRule};

use crate::cluster::{Cluster, Mesh};
use crate::model::Model;
use crate::units::Bytes;

/// The data side of a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Data {
    /// Tokens in one sequence.
    pub sequence_length: u32,
    /// Name of the shipped text that an execution reads.
    pub dataset: String,
    /// Samples on storage and the caches before it, where they are described.
    pub input: Option<Input>,
}

/// How an execution trains.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// Optimizer steps.
    pub steps: u32,
    /// Seed of weights and batches.
    pub seed: u64,
    /// Learning rate, constant.
    pub learning_rate: f64,
    /// Decoupled weight decay of matrices.
    pub weight_decay: f64,
    /// Largest gradient norm; 0 turns clipping off.
    pub gradient_clip: f64,
    /// How an execution hands out memory.
    pub pool: PoolPolicy,
    /// What all ranks of an execution together may take.
    pub memory_limit: Bytes,
    /// How a framework on the cluster hands it out.
    pub allocator: AllocatorName,
    /// Where ranks run.
    pub placement: Placement,
}

/// A checked scenario.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scenario {
    name: String,
    model: Model,
    cluster: Cluster,
    strategy: Strategy,
    data: Data,
    run: Run,
    resilience: Option<Resilience>,
    transfer: Option<Transfer>,
    budget: Budget,
}

impl Scenario {
    /// The checked scenario of a preset.
    pub fn preset(name: &str) -> Result<Self, ScenarioError> {
        check(&preset_file(name)?)
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is trained.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What it runs on.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// How it is parallelised.
    pub fn strategy(&self) -> &Strategy {
        &self.strategy
    }

    /// What is read.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// How it is trained.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// How a long run is kept and what may happen to it, where that is said.
    pub fn resilience(&self) -> Option<&Resilience> {
        self.resilience.as_ref()
    }

    /// What is handed to many nodes, where that is said.
    pub fn transfer(&self) -> Option<&Transfer> {
        self.transfer.as_ref()
    }

    /// What the whole run is to be, and what devices cost.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The ranks of the job.
    pub fn mesh(&self) -> Mesh {
        self.strategy.mesh()
    }

    /// Micro-batches that a pipeline works through in one step.
    pub fn micro_batches(&self) -> u32 {
        self.strategy.global_batch / (self.strategy.micro_batch * self.strategy.data_parallel)
    }

    /// Tokens of one micro-batch on one replica, over all of its context ranks.
    pub fn micro_batch_tokens(&self) -> u32 {
        self.strategy.micro_batch * self.data.sequence_length
    }

    /// What a step trains on, over all replicas: sequences, images or samples.
    pub fn step_samples(&self) -> u64 {
        u64::from(self.strategy.global_batch)
    }

    /// Experts that a token is routed to; 1 for a dense model.
    pub fn experts_per_token(&self) -> u32 {
        self.model.mixture.map_or(1, |mixture| mixture.per_token)
    }

    /// Tokens of one step over all replicas.
    pub fn step_tokens(&self) -> u64 {
        u64::from(self.strategy.global_batch) * u64::from(self.data.sequence_length)
    }

    /// Capacity of the smallest device.
    pub fn device_memory(&self) -> Bytes {
        self.cluster.least_memory()
    }

    /// The same scenario in a step without an outer one, and how many steps lie from one to the next; none where every
    /// step is like the others.
    pub fn between_outer_steps(&self) -> Option<(Self, u32)> {
        let UpdateRule::LocalSgd { interval: Some(interval) } = self.strategy.update else { return None };
        let strategy = Strategy { update: UpdateRule::LocalSgd { interval: None }, ..self.strategy.clone() };
        Some((Self { strategy, ..self.clone() }, interval))
    }

    /// The same scenario with samples that are always there.
    #[must_use]
    pub fn without_input(&self) -> Self {
        Self { data: Data { input: None, ..self.data.clone() }, ..self.clone() }
    }

    /// The same scenario on another device, as the comparison of prediction with execution needs it.
    pub fn on_cluster(&self, cluster: Cluster) -> Self {
        Self { cluster, ..self.clone() }
    }
}
