//! A measured run as it stands in the file.

use serde::{Deserialize, Deserializer};

use crate::units::Bytes;

/// One row. A field is empty where the source is silent; all others of the file are not read.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Measurement {
    /// Identifier of the row.
    pub id: String,
    /// Short name of the source.
    pub source_key: String,
    /// The model as the source names it.
    pub model_name: String,
    /// Parameters in billions.
    #[serde(deserialize_with = "number")]
    pub params_b: Option<f64>,
    /// Transformer layers.
    #[serde(deserialize_with = "whole")]
    pub layers: Option<u32>,
    /// Width of the residual stream.
    #[serde(deserialize_with = "whole")]
    pub hidden: Option<u32>,
    /// Query heads.
    #[serde(deserialize_with = "whole")]
    pub heads: Option<u32>,
    /// Key and value heads.
    #[serde(deserialize_with = "whole")]
    pub kv_heads: Option<u32>,
    /// Width of a head.
    #[serde(deserialize_with = "whole")]
    pub head_dim: Option<u32>,
    /// Inner width of the feed-forward block.
    #[serde(deserialize_with = "whole")]
    pub ffn_hidden: Option<u32>,
    /// Vocabulary.
    #[serde(deserialize_with = "whole")]
    pub vocab: Option<u32>,
    /// Tokens in a sequence.
    #[serde(deserialize_with = "whole")]
    pub seq_len: Option<u32>,
    /// Experts, for mixtures.
    #[serde(deserialize_with = "whole")]
    pub moe_experts: Option<u32>,
    /// Experts that a token is routed to.
    #[serde(deserialize_with = "whole")]
    pub moe_topk: Option<u32>,
    /// The device as the source names it.
    pub gpu_type: String,
    /// Devices of the run.
    #[serde(deserialize_with = "whole")]
    pub n_gpus: Option<u32>,
    /// Devices in a node.
    #[serde(deserialize_with = "whole")]
    pub gpus_per_node: Option<u32>,
    /// The network between nodes, in the source's words.
    pub inter_node_link: String,
    /// Number format, in the source's words.
    pub precision: String,
    /// Tensor parallel.
    #[serde(deserialize_with = "whole")]
    pub tp: Option<u32>,
    /// Pipeline parallel.
    #[serde(deserialize_with = "whole")]
    pub pp: Option<u32>,
    /// Model chunks on each stage.
    #[serde(deserialize_with = "whole")]
    pub vpp: Option<u32>,
    /// Context parallel.
    #[serde(deserialize_with = "whole")]
    pub cp: Option<u32>,
    /// Expert parallel.
    #[serde(deserialize_with = "whole")]
    pub ep: Option<u32>,
    /// Sharding over replicas, in the source's words.
    pub zero_stage_or_fsdp: String,
    /// `yes` or `no`.
    pub sequence_parallel: String,
    /// Sequences in a micro-batch on one replica.
    #[serde(deserialize_with = "whole")]
    pub micro_batch: Option<u32>,
    /// Sequences in a step.
    #[serde(deserialize_with = "whole")]
    pub global_batch: Option<u32>,
    /// Recomputation, in the source's words.
    pub recompute: String,
    /// Schedule, in the source's words.
    pub pipeline_schedule: String,
    /// Whether attention is fused, in the source's words.
    pub flash_attention: String,
    /// What overlaps with what, in the source's words.
    pub overlap_flags: String,
    /// The training framework.
    pub framework: String,
    /// What else the source says of the run.
    #[serde(default)]
    pub notes: String,
    /// What was trained.
    pub task: String,
    /// Measured time of a step in seconds.
    #[serde(deserialize_with = "number")]
    pub step_time_s: Option<f64>,
    /// Measured tokens per second and device.
    #[serde(deserialize_with = "number")]
    pub tokens_per_s_per_gpu: Option<f64>,
    /// Measured peak memory.
    #[serde(deserialize_with = "number")]
    pub peak_memory_gb: Option<f64>,
    /// What that counts, in the source's words.
    #[serde(default)]
    pub memory_convention: String,
    /// `A`, `B` or `C`.
    pub quality: String,
}

/// What a source counts as memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountedMemory {
    /// What tensors use.
    InUse,
    /// What a caching allocator has taken from the device for them.
    Reserved,
    /// That, and what the process holds beside it: what `nvidia-smi` shows.
    Device,
}

impl Measurement {
    /// The measured peak memory; a source that says GB means a billion bytes.
    pub fn peak_memory(&self) -> Option<Bytes> {
        let unit = if self.memory_convention.starts_with("GB") { 1e9 } else { f64::from(1 << 30) };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "memory of a device")]
        self.peak_memory_gb.filter(|gb| (0.0..1e6).contains(gb)).map(|gb| Bytes((gb * unit) as u64))
    }

    /// Of what that is.
    pub fn counted_memory(&self) -> CountedMemory {
        let said = self.memory_convention.to_lowercase();
        let said = said.split(';').next().unwrap_or_default();
        match () {
            () if said.contains("nvidia-smi") => CountedMemory::Device,
            () if said.contains("reserved") && !said.contains("allocated") => CountedMemory::Reserved,
            () => CountedMemory::InUse,
        }
    }

    /// What is the same in rows that differ in strategy alone.
    pub fn workload(&self) -> String {
        let sizes = [self.layers, self.hidden, self.heads, self.seq_len, self.global_batch, self.n_gpus];
        let sizes = sizes.map(|size| size.map_or_else(String::new, |n| n.to_string())).join("/");
        format!("{} {} {sizes} {} {}", self.source_key, self.model_name, self.gpu_type, self.precision)
    }
}

pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(text.trim().parse().ok().filter(|x: &f64| x.is_finite()))
}

/// A count; what is no whole number counts as not stated.
pub(super) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(text.trim().trim_end_matches(".0").parse().ok())
}

/// Why a file of measurements cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not CSV of this kind.
    #[error("not a table of measurements: {0}; expected CSV with the columns that `shardlab validate --help` lists")]
    Csv(#[from] csv::Error),
    /// A column that every row needs is not there.
    #[error("the table has no column `{0}`; expected CSV with the columns that `shardlab validate --help` lists")]
    NoColumn(&'static str),
    /// There are no rows.
    #[error("the table has no rows")]
    Empty,
}

/// Columns without which no row can be built.
const NEEDED: [&str; 9] =
    ["id", "layers", "hidden", "heads", "seq_len", "gpu_type", "n_gpus", "micro_batch", "global_batch"];

/// Reads all rows of a CSV file.
///
/// # Errors
/// When the bytes are not CSV, a needed column is missing, or there are no rows.
pub fn read(bytes: &[u8]) -> Result<Vec<Measurement>, ReadError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
    let header = reader.headers()?.clone();
    if let Some(missing) = NEEDED.into_iter().find(|name| !header.iter().any(|column| column == *name)) {
        return Err(ReadError::NoColumn(missing));
    }
    let rows = reader.deserialize().collect::<Result<Vec<Measurement>, _>>()?;
    if rows.is_empty() { Err(ReadError::Empty) } else { Ok(rows) }
}
