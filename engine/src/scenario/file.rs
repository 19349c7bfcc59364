//! A scenario as it is written: the serde mirror of the file, with nothing checked but types.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    AccessFile, AllocatorName, AttentionKernel, BudgetFile, CacheFile, CheckpointFile, ChunkLayout, Compression,
    ContextMethod, ExpertDispatch, GradientFormat, Kernels, LoaderFile, Optimizer, Place, PlacementName, PoolName,
    Precision, PreprocessingFile, Recompute, RecomputeModule, ReliabilityFile, SamplesFile, ScheduleName, StorageFile,
    TransferFile, UpdateName,
};
use crate::cluster::{DeviceFile, ExceptionFile, MeshAxis, NetworkFile};
use crate::model::ModelFile;
use crate::units::Bytes;

/// A training step to simulate or execute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Shardlab scenario")]
pub struct ScenarioFile {
    /// Address of this schema, for editors; not read.
    #[serde(default, rename = "$schema", skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// What it is called in reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it shows, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What is trained.
    pub model: ModelFile,
    /// What it runs on.
    pub cluster: ClusterFile,
    /// How the step is split.
    #[serde(default)]
    pub strategy: StrategyFile,
    /// What is read.
    #[serde(default)]
    pub data: DataFile,
    /// How an execution trains.
    #[serde(default)]
    pub run: RunFile,
    /// How a long run is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointFile>,
    /// What may happen to a long run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reliability: Option<ReliabilityFile>,
    /// Something large that is handed to many nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<TransferFile>,
    /// What the whole run is to be, and what devices cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetFile>,
}

impl ScenarioFile {
    /// The same cluster and strategy with another model, as a Hugging Face `config.json` brings it. The sequences
    /// become as short as the model needs them.
    pub fn with_model(&self, model: ModelFile) -> Self {
        let longest = model.positions.unwrap_or(u32::MAX);
        let sequence_length = self.data.sequence_length.map(|length| length.min(longest));
        let data = DataFile { sequence_length, ..self.data.clone() };
        Self { name: None, description: None, model, data, ..self.clone() }
    }
}

/// Nodes of one kind of device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterFile {
    /// Name of a device preset; `custom` changes it, or stands alone if complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Number of nodes.
    #[serde(default = "one")]
    pub nodes: u32,
    /// What differs from the preset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<DeviceFile>,
    /// How nodes are joined; any two adapters at their full rate when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkFile>,
    /// Nodes or devices that differ from the others: stragglers, other devices, degraded links.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<ExceptionFile>,
}

/// How the step is split, ordered and rounded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StrategyFile {
    /// Replicas; what the other axes leave of the cluster when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_parallel: Option<u32>,
    /// Slices of each layer; divides the key and value heads.
    pub tensor_parallel: u32,
    /// Shard the residual stream by tokens over the tensor group.
    pub sequence_parallel: bool,
    /// With `sequence_parallel`, keep what was gathered for the forward pass until the backward pass, instead of gathering
    /// it again.
    #[serde(skip_serializing_if = "is_default")]
    pub keep_gathered: bool,
    /// Chunks of tokens into which tensor-parallel matmuls and their collectives are cut, so that one is computed while
    /// the next is gathered or the last is reduced; 1 for none.
    #[serde(skip_serializing_if = "is_one")]
    pub tensor_chunks: u32,
    /// Slices of each sequence; divides half of the sequence length.
    #[serde(skip_serializing_if = "is_one")]
    pub context_parallel: u32,
    /// How context ranks exchange keys and values: `ring`, `all_to_all` or `all_gather`.
    #[serde(skip_serializing_if = "is_default")]
    pub context_method: ContextMethod,
    /// Ranks over which the experts of a layer are spread; divides the experts, and lies over the replicas.
    #[serde(skip_serializing_if = "is_one")]
    pub expert_parallel: u32,
    /// Slices of each expert: 1, or as many as `tensor_parallel`; 1 when left out.
    #[serde(skip_serializing_if = "is_one")]
    pub expert_tensor_parallel: u32,
    /// Tokens that the busiest rank's experts take, over the mean; what is beyond is dropped.
    #[serde(skip_serializing_if = "is_unit")]
    pub capacity_factor: f64,
    /// How tokens reach their experts: `all_to_all`, or `once_per_node` over the network.
    #[serde(skip_serializing_if = "is_default")]
    pub expert_dispatch: ExpertDispatch,
    /// Order in which the axes of the mesh fill the devices, the innermost first: of `tp`, `cp`, `dp`, `pp`; what is not
    /// named follows in this order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rank_order: Vec<MeshAxis>,
    /// Pipeline stages; at most one per layer.
    pub pipeline_parallel: u32,
    /// Order of micro-batches: `gpipe`, `1f1b`, `interleaved`, `zb-h1`, `zb-h2`, `zb-v`, `dualpipe-v`, `dualpipe`
    /// or `custom`.
    pub schedule: ScheduleName,
    /// Run the forward of one micro-batch beside the backward of another, so that what one sends hides behind what the
    /// other computes; for `1f1b` and `interleaved`, always in `dualpipe-v` and `dualpipe`.
    #[serde(skip_serializing_if = "is_default")]
    pub overlap_micro_batches: bool,
    /// Model chunks on each stage, for `interleaved` and `custom`; 2 for the former when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_stages: Option<u32>,
    /// Slots of every stage for `custom`: `F`, `B` or `W` with a micro-batch, and behind a point the chunk.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub custom_schedule: Vec<String>,
    /// Where the next virtual stage is, for `custom`: `loop` or `v`.
    #[serde(skip_serializing_if = "is_default")]
    pub chunk_layout: ChunkLayout,
    /// Layers of every virtual stage in the order of the model; evenly when left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stage_layers: Vec<u32>,
    /// Sequences in one micro-batch.
    pub micro_batch: u32,
    /// Sequences in one step, over all replicas.
    pub global_batch: u32,
    /// `fp32`, `tf32`, `fp16`, `bf16`, `fp8`, `fp8_block` or `nvfp4`.
    pub precision: Precision,
    /// Format in which gradients are summed over micro-batches and replicas: `fp32`, or `compute`, that of `precision`.
    #[serde(skip_serializing_if = "is_default")]
    pub gradient_format: GradientFormat,
    /// `adamw`, `adam`, `adam_8bit`, `adafactor`, `muon`, `momentum` or `sgd`.
    #[serde(skip_serializing_if = "is_default")]
    pub optimizer: Optimizer,
    /// `flash`, `flash_2` (written for Ampere) or `unfused`.
    pub attention: AttentionKernel,
    /// `fused`, or `eager`: a kernel for every operation of the framework, with its results kept.
    #[serde(skip_serializing_if = "is_default")]
    pub kernels: Kernels,
    /// `none`, `selective`, `full` or `budget`.
    pub recompute: Recompute,
    /// What a rank may need, for `budget`, for example `"70 GB"`; nine tenths of the device's memory when left out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Bytes::deserialize_option",
        serialize_with = "Bytes::serialize_option"
    )]
    #[schemars(schema_with = "Bytes::text_schema")]
    pub recompute_budget: Option<Bytes>,
    /// What `selective` repeats: `attention`, `norm`, `activation`, `latent_up`, `mlp`, `experts`; `attention` when left
    /// out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recompute_modules: Vec<RecomputeModule>,
    /// Every how many layers `full` repeats one; 1 repeats all.
    #[serde(skip_serializing_if = "is_one")]
    pub recompute_interval: u32,
    /// Launch recorded graphs, so that no op waits for the host.
    #[serde(skip_serializing_if = "is_default")]
    pub cuda_graphs: bool,
    /// Reduce gradients while the backward pass still runs.
    pub overlap_gradients: bool,
    /// Size of a gradient bucket, for example `"100 MB"`.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Bytes::deserialize_option",
        serialize_with = "Bytes::serialize_option"
    )]
    #[schemars(schema_with = "Bytes::text_schema")]
    pub bucket: Option<Bytes>,
    /// Where optimizer state and master weights live: on the `device`, in the `host`'s memory, or on its `nvme` drives; the
    /// host updates what is not on the device.
    #[serde(skip_serializing_if = "is_default")]
    pub offload_optimizer: Place,
    /// Where slices of parameters live between their uses, for `zero_stage` 3.
    #[serde(skip_serializing_if = "is_default")]
    pub offload_parameters: Place,
    /// Layers of every virtual stage, from the first, whose activations wait for the backward pass in the host's memory.
    #[serde(skip_serializing_if = "is_default")]
    pub offload_activations: u32,
    /// Whether what layers keep for their backward passes waits in eight bits (FP8 with a scale for every 128 elements).
    #[serde(skip_serializing_if = "is_default")]
    pub compress_activations: bool,
    /// When gradients of other replicas reach the parameters: `synchronous`, `bounded_staleness`, `asynchronous` or
    /// `local_sgd`.
    #[serde(skip_serializing_if = "is_default")]
    pub update: UpdateName,
    /// Steps between a gradient and its update, for `bounded_staleness`; 1 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staleness: Option<u32>,
    /// Steps from one outer step to the next, for `local_sgd`; 500 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_interval: Option<u32>,
    /// Make gradients smaller before they are summed over replicas: `none`, `bf16`, `fp16`, `int8`, `top_k` or
    /// `low_rank`.
    #[serde(skip_serializing_if = "is_default")]
    pub gradient_compression: Compression,
    /// The share of elements that `top_k` keeps; 0.01 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression_share: Option<f64>,
    /// Columns of the factors of `low_rank`; 4 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression_rank: Option<u32>,
    /// What is sharded over the replicas: 0 nothing, 1 optimizer state, 2 gradients too, 3 parameters too (FSDP).
    pub zero_stage: u32,
    /// Replicas that share one copy of what is sharded; all of them when left out, fewer for hybrid sharding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sharding_group: Option<u32>,
    /// Gather updated parameters while the next step's forward already runs, for `zero_stage` 1 and 2.
    pub overlap_parameters: bool,
    /// Units (layers) whose parameters are gathered ahead of their use, for `zero_stage` 3.
    pub prefetch: u32,
    /// Drop a layer's parameters between forward and backward, for `zero_stage` 3.
    pub reshard_after_forward: bool,
}

impl Default for StrategyFile {
    fn default() -> Self {
        Self {
            data_parallel: None,
            tensor_parallel: 1,
            sequence_parallel: false,
            keep_gathered: false,
            tensor_chunks: 1,
            context_parallel: 1,
            context_method: ContextMethod::default(),
            expert_parallel: 1,
            expert_tensor_parallel: 1,
            capacity_factor: 1.0,
            expert_dispatch: ExpertDispatch::default(),
            rank_order: Vec::new(),
            pipeline_parallel: 1,
            schedule: ScheduleName::default(),
            overlap_micro_batches: false,
            virtual_stages: None,
            custom_schedule: Vec::new(),
            chunk_layout: ChunkLayout::default(),
            stage_layers: Vec::new(),
            micro_batch: 1,
            global_batch: 1,
            precision: Precision::default(),
            gradient_format: GradientFormat::default(),
            optimizer: Optimizer::default(),
            attention: AttentionKernel::default(),
            kernels: Kernels::default(),
            recompute: Recompute::default(),
            recompute_budget: None,
            recompute_modules: Vec::new(),
            recompute_interval: 1,
            cuda_graphs: false,
            overlap_gradients: true,
            bucket: None,
            offload_optimizer: Place::default(),
            offload_parameters: Place::default(),
            offload_activations: 0,
            compress_activations: false,
            update: UpdateName::default(),
            staleness: None,
            sync_interval: None,
            gradient_compression: Compression::default(),
            compression_share: None,
            compression_rank: None,
            zero_stage: 0,
            sharding_group: None,
            overlap_parameters: true,
            prefetch: 1,
            reshard_after_forward: true,
        }
    }
}

/// What is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DataFile {
    /// Tokens in one sequence; the model's `positions` when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence_length: Option<u32>,
    /// Name of the shipped text that an execution reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// What lies on storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<SamplesFile>,
    /// In which order it is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<AccessFile>,
    /// What nodes keep of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheFile>,
    /// Where it lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageFile>,
    /// How it becomes batches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loader: Option<LoaderFile>,
    /// Nodes beside the cluster that read and decode for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preprocessing: Option<PreprocessingFile>,
}

/// How an execution trains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RunFile {
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
    /// How memory is handed out: `best_fit`, `reservation` or `paging`.
    #[serde(skip_serializing_if = "is_default")]
    pub pool: PoolName,
    /// What the buffers of a rank may take of the device, for `paging`, for example `"8 MB"`; the least with which the step
    /// can run when left out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Bytes::deserialize_option",
        serialize_with = "Bytes::serialize_option"
    )]
    #[schemars(schema_with = "Bytes::text_schema")]
    pub pool_budget: Option<Bytes>,
    /// What all ranks of an execution together may take, for example `"8 GB"`; 1 GiB when left out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Bytes::deserialize_option",
        serialize_with = "Bytes::serialize_option"
    )]
    #[schemars(schema_with = "Bytes::text_schema")]
    pub memory_limit: Option<Bytes>,
    /// How a framework on the cluster hands out a device's memory: `caching`, `expandable`, `bump`, `offsets`, `best_fit`,
    /// `reservation` or `paging`.
    #[serde(skip_serializing_if = "is_default")]
    pub allocator: AllocatorName,
    /// Where ranks run: on one `device`, on `adapters`, or in `processes`.
    #[serde(skip_serializing_if = "is_default")]
    pub placement: PlacementName,
    /// Workers among which ranks are dealt out, for `adapters` and `processes`; one for each rank when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<u32>,
}

impl Default for RunFile {
    fn default() -> Self {
        Self {
            steps: 20,
            seed: 1,
            learning_rate: 3e-3,
            weight_decay: 0.1,
            gradient_clip: 1.0,
            pool: PoolName::BestFit,
            pool_budget: None,
            memory_limit: None,
            allocator: AllocatorName::Caching,
            placement: PlacementName::Device,
            workers: None,
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_one(value: &u32) -> bool {
    *value == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_unit(value: &f64) -> bool {
    *value == 1.0
}

fn one() -> u32 {
    1
}
