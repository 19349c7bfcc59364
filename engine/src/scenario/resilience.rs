//! How a long run is kept, and what may happen to it: checkpoints and failures, as written and as checked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::input::words;
use crate::cluster::Cluster;
use crate::units::{Bytes, BytesPerSec, Nanos};

words! {
    /// How a checkpoint is taken.
    CheckpointMode {
        /// One node gathers and writes all of it while the steps wait.
        Full = "full",
        /// Every node writes its part while the steps wait.
        #[default]
        Sharded = "sharded",
        /// The steps wait until it is in the hosts' memory; nodes write their parts meanwhile (Mohan et al. 2021,
        /// "CheckFreq").
        Async = "async",
        /// The same, into the memory of another node in the place of storage (Wang et al. 2023, "Gemini").
        Peer = "peer_memory",
        /// Every node writes its part to its drives while the steps wait, and from there to storage meanwhile: read from the
        /// drives after a failure of software, from storage where a node is lost (Moody et al. 2010, "SCR").
        MultiLevel = "multi_level",
    }
}

/// How checkpoints are taken, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointFile {
    /// `full`, `sharded`, `async`, `peer_memory` or `multi_level`.
    pub mode: CheckpointMode,
    /// Steps from a checkpoint to the next; the best for the goodput when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<u32>,
    /// The part of the state that changes between checkpoints, and is written as an increment; all of it, 1, when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// Of so many checkpoints one is whole, and the others are increments that are read after it (Eisenman et al. 2022,
    /// "Check-N-Run"); 1 when left out, 10 where `share` is below 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_every: Option<u32>,
    /// What the storage takes from all nodes together, for example `"1 TB/s"`; as much as all nodes write when left out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "BytesPerSec::deserialize_option",
        serialize_with = "BytesPerSec::serialize_option"
    )]
    #[schemars(schema_with = "BytesPerSec::text_schema")]
    pub bandwidth: Option<BytesPerSec>,
    /// What a node writes, and reads, for example `"2 GB/s"`; `"2 GB/s"` when left out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "BytesPerSec::deserialize_option",
        serialize_with = "BytesPerSec::serialize_option"
    )]
    #[schemars(schema_with = "BytesPerSec::text_schema")]
    pub node_bandwidth: Option<BytesPerSec>,
}

/// What may happen to a run, as it is written. Times between failures that are left out are as Dubey et al. 2024 report of
/// 16384 GPUs in 54 days (section 3.3.4): 419 unexpected interruptions, of which 58.7 % by GPUs and 12.9 % by software,
/// which is taken for jobs of any size; all else that is left out is an assumption.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReliabilityFile {
    /// Mean time between failures of a device, for example `"86000 h"`, which is taken when left out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Nanos::deserialize_option",
        serialize_with = "Nanos::serialize_option"
    )]
    #[schemars(schema_with = "Nanos::text_schema")]
    pub device_mtbf: Option<Nanos>,
    /// The same of all else in a node; `"22000 h"` when left out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Nanos::deserialize_option",
        serialize_with = "Nanos::serialize_option"
    )]
    #[schemars(schema_with = "Nanos::text_schema")]
    pub node_mtbf: Option<Nanos>,
    /// The same of the job's software; `"24 h"` when left out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Nanos::deserialize_option",
        serialize_with = "Nanos::serialize_option"
    )]
    #[schemars(schema_with = "Nanos::text_schema")]
    pub job_mtbf: Option<Nanos>,
    /// Until a failure is noticed; `"1 min"` when left out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Nanos::deserialize_option",
        serialize_with = "Nanos::serialize_option"
    )]
    #[schemars(schema_with = "Nanos::text_schema")]
    pub detect: Option<Nanos>,
    /// Until a spare node is in the place of one that failed; `"2 min"` when left out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Nanos::deserialize_option",
        serialize_with = "Nanos::serialize_option"
    )]
    #[schemars(schema_with = "Nanos::text_schema")]
    pub replace: Option<Nanos>,
    /// Until all processes have started again; `"5 min"` when left out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Nanos::deserialize_option",
        serialize_with = "Nanos::serialize_option"
    )]
    #[schemars(schema_with = "Nanos::text_schema")]
    pub restart: Option<Nanos>,
    /// Until a node that failed is a spare; `"1 d"` when left out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Nanos::deserialize_option",
        serialize_with = "Nanos::serialize_option"
    )]
    #[schemars(schema_with = "Nanos::text_schema")]
    pub repair: Option<Nanos>,
    /// Spare nodes; one of fifty when left out, at least one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spares: Option<u32>,
    /// How long the run is looked at; `"30 d"` when left out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Nanos::deserialize_option",
        serialize_with = "Nanos::serialize_option"
    )]
    #[schemars(schema_with = "Nanos::text_schema")]
    pub horizon: Option<Nanos>,
}

/// How checkpoints are taken.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Checkpointing {
    /// The way.
    pub mode: CheckpointMode,
    /// Steps from one to the next; the best when there is none.
    pub interval: Option<u32>,
    /// The part of the state that an increment writes.
    pub share: f64,
    /// Of so many checkpoints one is whole.
    pub full_every: u32,
    /// What the storage takes from all nodes together.
    pub bandwidth: BytesPerSec,
    /// What a node writes, and reads.
    pub node_bandwidth: BytesPerSec,
}

/// What may happen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Reliability {
    /// Mean time between failures of a device.
    pub device_mtbf: Nanos,
    /// Of all else in a node.
    pub node_mtbf: Nanos,
    /// Of the job's software.
    pub job_mtbf: Nanos,
    /// Until a failure is noticed.
    pub detect: Nanos,
    /// Until a spare node is in the place of one that failed.
    pub replace: Nanos,
    /// Until all processes have started again.
    pub restart: Nanos,
    /// Until a node that failed is a spare.
    pub repair: Nanos,
    /// Spare nodes.
    pub spares: u32,
    /// How long the run is looked at.
    pub horizon: Nanos,
}

impl Reliability {
    /// Failures of the whole job per second: those that take a node away, and those that do not.
    pub fn failure_rate(&self, cluster: &Cluster) -> [f64; 2] {
        let of = |count: u32, mtbf: Nanos| f64::from(count) / mtbf.secs().max(1.0);
        [of(cluster.devices(), self.device_mtbf) + of(cluster.nodes, self.node_mtbf), of(1, self.job_mtbf)]
    }
}

/// How a long run is kept, and what may happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Resilience {
    /// How checkpoints are taken.
    pub checkpoint: Checkpointing,
    /// What may happen.
    pub reliability: Reliability,
    /// Bytes of what is kept: fp32 weights and what the optimizer keeps of them.
    pub state: Bytes,
}
