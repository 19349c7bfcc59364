//! How the step is split, ordered and rounded.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pipeline::{Layout, PipelineSchedule};
use super::{Compression, Optimizer, Place, UpdateRule};
use crate::cluster::{Mesh, MeshAxis};
use crate::units::Bytes;

/// Number format of weights and activations in compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Everything in 32 bits; matmuls on plain fp32 units.
    Fp32,
    /// Everything in 32 bits; matmuls round their inputs to TF32.
    Tf32,
    /// As bf16 in fp16, with a loss scale (Micikevicius et al. 2018).
    Fp16,
    /// Weights and activations in bf16; gradients accumulate in fp32; fp32 master weights and moments
    /// (Micikevicius et al. 2018 with bf16, as Megatron-LM does it).
    #[default]
    Bf16,
    /// As bf16, with the inputs of the layers' matmuls cast to fp8, per tensor (Micikevicius et al. 2022; Noune et al.
    /// 2022), as Transformer Engine does it.
    Fp8,
    /// As fp8, with a scale for every 128 elements (DeepSeek-AI 2024, "DeepSeek-V3", section 3.3; the same blocks for
    /// weights and activations).
    #[serde(rename = "fp8_block")]
    Fp8Block,
    /// As fp8, in four bits with a scale for every 16 elements (NVIDIA 2025, "Pretraining large language models with
    /// NVFP4").
    Nvfp4,
}

/// How attention is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttentionKernel {
    /// In one kernel that never stores the scores (Dao et al. 2022), written for the device (Shah et al. 2024, cuDNN).
    #[default]
    Flash,
    /// The same, written for Ampere (Dao 2023, "FlashAttention-2"): later devices reach about half with it.
    #[serde(rename = "flash_2")]
    Flash2,
    /// As two batched matmuls with a softmax between them; scores and probabilities are stored.
    Unfused,
}

/// How ranks that share a sequence exchange keys and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContextMethod {
    /// Keys and values go around while attention runs on those that are there (Liu et al. 2023, "Ring Attention"), with
    /// the causal work dealt out evenly (Brandon et al. 2023, "Striped Attention").
    #[default]
    Ring,
    /// Each rank gets whole sequences of some heads and gives them back (Jacobs et al. 2023, "DeepSpeed-Ulysses").
    AllToAll,
    /// Every rank gathers all keys and values first (Dubey et al. 2024, "Llama 3", section 3.3.2).
    AllGather,
}

impl ContextMethod {
    /// All methods.
    pub const ALL: [Self; 3] = [Self::Ring, Self::AllToAll, Self::AllGather];

    /// The name in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::AllToAll => "all_to_all",
            Self::AllGather => "all_gather",
        }
    }
}

/// In which format gradients are summed over micro-batches and replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GradientFormat {
    /// In fp32, whatever the precision (Micikevicius et al. 2018; Megatron-LM's `accumulate_allreduce_grads_in_fp32`).
    #[default]
    Fp32,
    /// In the 16 bits in which they are computed: half the memory and half the traffic. The update reads a copy in fp32.
    Compute,
    /// In fp32, to which every micro-batch adds what its kernels have written in 16 bits: both stay (DeepSpeed's
    /// `BF16_Optimizer`).
    Both,
}

/// How the operations of a layer become kernels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kernels {
    /// Passes over memory that follow each other are one kernel, as compilers and Megatron-LM's kernels make them.
    #[default]
    Fused,
    /// Each operation of the framework is a kernel of its own that keeps what its gradient needs: gates and their products
    /// are apart, and keys and values are copied together before attention.
    Eager,
}

/// How tokens reach their experts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExpertDispatch {
    /// A copy for every expert, each to its rank.
    #[default]
    AllToAll,
    /// Of a token that goes to several ranks of a node one copy crosses the network (DeepSeek-AI 2024, "DeepSeek-V3",
    /// section 3.2.2; its DeepEP).
    OncePerNode,
}

impl ExpertDispatch {
    /// The name in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::AllToAll => "all_to_all",
            Self::OncePerNode => "once_per_node",
        }
    }
}

/// What the backward pass computes again instead of keeping it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Recompute {
    /// Nothing: all activations are kept.
    #[default]
    None,
    /// The parts of a layer that `recompute_modules` names; scores and softmax of unfused attention when it names none
    /// (Korthikanti et al. 2022, section 5).
    Selective,
    /// Whole transformer layers, from their input (Chen et al. 2016): every `recompute_interval`-th.
    Full,
    /// Cheap parts of layers, then whole layers: of every stage the fewest with which it stays within `recompute_budget`.
    Budget,
}

/// A part of a layer that selective recomputation may repeat; Megatron-Core's `--recompute-modules` has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecomputeModule {
    /// Scores and softmax of unfused attention.
    Attention,
    /// Norms.
    Norm,
    /// Activation functions of dense, shared and expert blocks.
    Activation,
    /// The projections of latent attention up from short vectors.
    LatentUp,
    /// Dense feed-forward blocks.
    Mlp,
    /// Mixtures of experts: dispatch, experts and the way back.
    Experts,
}

impl RecomputeModule {
    /// All modules.
    pub const ALL: [Self; 6] =
        [Self::Attention, Self::Norm, Self::Activation, Self::LatentUp, Self::Mlp, Self::Experts];

    /// The name in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Attention => "attention",
            Self::Norm => "norm",
            Self::Activation => "activation",
            Self::LatentUp => "latent_up",
            Self::Mlp => "mlp",
            Self::Experts => "experts",
        }
    }
}

/// What is sharded over the replicas (Rajbhandari et al. 2020, "ZeRO").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ZeroStage {
    /// Nothing: every replica holds all.
    #[default]
    None,
    /// Moments and master weights.
    OptimizerState,
    /// Gradients too.
    Gradients,
    /// Parameters too, as FSDP does (Zhao et al. 2023).
    Parameters,
}

impl ZeroStage {
    /// All stages, by number.
    pub const ALL: [Self; 4] = [Self::None, Self::OptimizerState, Self::Gradients, Self::Parameters];
}

impl Precision {
    /// Whether an execution rounds numbers as it says and computes with them in fp32.
    pub fn is_emulated(self) -> bool {
        matches!(self, Self::Fp8 | Self::Fp8Block | Self::Nvfp4)
    }

    /// The name in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Tf32 => "tf32",
            Self::Fp16 => "fp16",
            Self::Bf16 => "bf16",
            Self::Fp8 => "fp8",
            Self::Fp8Block => "fp8_block",
            Self::Nvfp4 => "nvfp4",
        }
    }
}

impl Precision {
    /// All formats.
    pub const ALL: [Self; 7] = [Self::Bf16, Self::Fp16, Self::Fp8, Self::Fp8Block, Self::Nvfp4, Self::Tf32, Self::Fp32];
}

impl Recompute {
    /// The name in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Selective => "selective",
            Self::Full => "full",
            Self::Budget => "budget",
        }
    }
}

/// The share of elements that `top_k` keeps unless it is said; published runs keep 0.1 % to 1 %.
pub const DEFAULT_SHARE: f64 = 0.01;

/// Columns of the factors of `low_rank` unless they are said (Vogels et al. 2019, table 3: 1 to 4).
pub const DEFAULT_RANK: u32 = 4;

/// A checked strategy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Strategy {
    /// Replicas.
    pub data_parallel: u32,
    /// Slices of each layer.
    pub tensor_parallel: u32,
    /// Whether the residual stream is sharded by tokens over the tensor group (Korthikanti et al. 2022).
    pub sequence_parallel: bool,
    /// Whether what is gathered for the forward pass stays for the backward pass (sequence parallelism).
    pub keep_gathered: bool,
    /// Chunks of tokens into which tensor-parallel matmuls and their collectives are cut, so that they overlap.
    pub tensor_chunks: u32,
    /// Slices of each sequence.
    pub context_parallel: u32,
    /// How they exchange keys and values.
    pub context_method: ContextMethod,
    /// Ranks over which the experts of a layer are spread.
    pub expert_parallel: u32,
    /// Slices of each expert: 1 or `tensor_parallel`.
    pub expert_tensor_parallel: u32,
    /// Tokens that the busiest rank's experts take, over the mean: what is beyond is dropped.
    pub capacity_factor: f64,
    /// How tokens reach their experts.
    pub expert_dispatch: ExpertDispatch,
    /// Order in which axes fill the devices, the innermost first.
    pub rank_order: [MeshAxis; 4],
    /// Stages.
    pub pipeline_parallel: u32,
    /// Order of micro-batches.
    pub schedule: PipelineSchedule,
    /// Whether a backward and the forward of another micro-batch run side by side, so that what one sends hides behind
    /// what the other computes.
    pub overlap_micro_batches: bool,
    /// Model chunks on each stage.
    pub virtual_stages: u32,
    /// Layers of every virtual stage, in the order in which a micro-batch passes them.
    pub stage_layers: Vec<u32>,
    /// Sequences in one micro-batch.
    pub micro_batch: u32,
    /// Sequences in one step, over all replicas.
    pub global_batch: u32,
    /// Number format.
    pub precision: Precision,
    /// Format in which gradients are summed.
    pub gradient_format: GradientFormat,
    /// How gradients become updates.
    pub optimizer: Optimizer,
    /// How attention is computed.
    pub attention: AttentionKernel,
    /// How operations become kernels.
    pub kernels: Kernels,
    /// What is computed again.
    pub recompute: Recompute,
    /// Parts that selective recomputation repeats.
    pub recompute_modules: Vec<RecomputeModule>,
    /// What a rank may need where a budget decides about recomputation.
    pub recompute_budget: Bytes,
    /// Every how many layers full recomputation repeats one.
    pub recompute_interval: u32,
    /// Whether the host launches the step as recorded graphs, so that no op waits for it (CUDA graphs).
    pub cuda_graphs: bool,
    /// Whether gradient buckets are reduced while the backward pass still runs.
    pub overlap_gradients: bool,
    /// Gradients are reduced in flat buckets of about this size.
    pub bucket: Bytes,
    /// Where optimizer state and master weights live.
    pub offload_optimizer: Place,
    /// Where slices of parameters live (stage 3).
    pub offload_parameters: Place,
    /// Layers of every virtual stage whose activations wait in the host's memory, the first ones.
    pub offload_activations: u32,
    /// Whether what layers keep for their backward passes waits in eight bits.
    pub compress_activations: bool,
    /// When gradients of other replicas reach the parameters.
    pub update: UpdateRule,
    /// What is done to gradients before they are summed over replicas.
    pub compression: Compression,
    /// The share of elements that `top_k` keeps.
    pub compression_share: f64,
    /// Columns of the factors of `low_rank`.
    pub compression_rank: u32,
    /// What is sharded over the replicas.
    pub zero: ZeroStage,
    /// Replicas that share one copy of what is sharded: all, or fewer (hybrid sharding); divides `copies`.
    pub sharding_group: u32,
    /// Whether updated parameters are gathered while the next step's forward already runs (stages 1 and 2).
    pub overlap_parameters: bool,
    /// Units whose parameters are gathered ahead of their use (stage 3).
    pub prefetch: u32,
    /// Whether a unit's parameters are dropped between forward and backward (stage 3).
    pub reshard_after_forward: bool,
}

impl Strategy {
    /// How virtual stages lie on stages.
    pub fn layout(&self) -> Layout {
        Layout { stages: self.pipeline_parallel, chunks: self.virtual_stages, layout: self.schedule.layout() }
    }

    /// Bytes in which an element of a gradient is summed.
    pub fn gradient_size(&self) -> u64 {
        let single = matches!(self.precision, Precision::Fp32 | Precision::Tf32);
        if single || self.gradient_format != GradientFormat::Compute { 4 } else { 2 }
    }

    /// Ranks that hold copies of the same dense weights: replicas and their context ranks, on both stages that have them
    /// where the pipeline holds two copies of the model.
    pub fn copies(&self) -> u32 {
        self.data_parallel * self.context_parallel * self.layout().copies()
    }

    /// The same with every field that has no effect at its default: strategies that are equal then do the same.
    pub fn canonical(&self) -> Self {
        let mut s = self.clone();
        if s.recompute == Recompute::Selective && s.recompute_modules == [RecomputeModule::Attention] {
            // The fused kernel stores no scores that could be repeated.
            s.recompute = if s.attention == AttentionKernel::Flash { Recompute::None } else { s.recompute };
        }
        if s.recompute != Recompute::Selective {
            s.recompute_modules = vec![RecomputeModule::Attention];
        }
        if s.recompute != Recompute::Budget {
            s.recompute_budget = Bytes::ZERO;
        }
        if s.recompute != Recompute::Full {
            s.recompute_interval = 1;
        }
        if !s.shards_over_replicas() {
            (s.zero, s.sharding_group) = (ZeroStage::None, 1);
        }
        if s.zero != ZeroStage::Parameters {
            (s.prefetch, s.reshard_after_forward) = (1, true);
        }
        if !matches!(s.zero, ZeroStage::OptimizerState | ZeroStage::Gradients) {
            s.overlap_parameters = true;
        }
        if s.mesh().copies() == 1 && s.mesh().expert_copies() == 1 {
            (s.overlap_gradients, s.compression) = (true, Compression::None);
            s.update = UpdateRule::Synchronous;
        }
        if s.compression != Compression::TopK {
            s.compression_share = DEFAULT_SHARE;
        }
        if s.compression != Compression::LowRank {
            s.compression_rank = DEFAULT_RANK;
        }
        if s.pipeline_parallel == 1 && s.virtual_stages == 1 && s.schedule != PipelineSchedule::GPipe {
            s.schedule = if s.schedule.splits_backward() { s.schedule } else { PipelineSchedule::OneFOneB };
        }
        if s.tensor_parallel == 1 {
            s.tensor_chunks = 1;
        }
        s.keep_gathered &= s.sequence_parallel;
        if matches!(s.precision, Precision::Fp32 | Precision::Tf32) {
            s.gradient_format = GradientFormat::Fp32;
        }
        if s.expert_parallel == 1 {
            s.expert_dispatch = ExpertDispatch::default();
        }
        if s.context_parallel == 1 {
            s.context_method = ContextMethod::default();
        }
        s
    }

    /// How many groups of replicas step by themselves: one, but for rules by which gradients of others reach the parameters
    /// later.
    pub fn separate_groups(&self) -> u32 {
        match self.update {
            UpdateRule::Synchronous | UpdateRule::BoundedStaleness { .. } => 1,
            UpdateRule::LocalSgd { .. } if self.shards_over_replicas() => self.copies() / self.sharding_group.max(1),
            UpdateRule::LocalSgd { .. } | UpdateRule::Asynchronous => self.copies(),
        }
    }

    /// Whether anything is sharded over replicas.
    pub fn shards_over_replicas(&self) -> bool {
        self.zero != ZeroStage::None && self.sharding_group > 1
    }

    /// The ranks.
    pub fn mesh(&self) -> Mesh {
        Mesh {
            pp: self.pipeline_parallel,
            dp: self.data_parallel,
            cp: self.context_parallel,
            tp: self.tensor_parallel,
            ep: self.expert_parallel,
            expert_tensor: self.expert_tensor_parallel,
            shard: self.sharding_group,
            mirrored: self.layout().copies() > 1,
        }
    }
}
