//! Where samples lie and what makes batches of them, as written and as checked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::input::words;
use crate::units::{Bytes, BytesPerSec, Nanos};

words! {
    /// How samples lie in storage.
    SampleFormat {
        /// A file each, as in torchvision's `ImageFolder`: every read looks up and opens one.
        #[default]
        Files = "files",
        /// Some large files with an index, as Megatron's `.bin`, FFCV or LMDB: opened once, read anywhere.
        Records = "records",
        /// Files of many samples that are read from begin to end, as WebDataset, TFRecord or row groups of Parquet: one is
        /// opened for many samples, and an order is one of shards, with a buffer to shuffle in.
        Shards = "shards",
    }
}

/// Where samples lie, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StorageFile {
    /// What it delivers to all nodes together, for example `"20 GB/s"`; as much as all servers, or all nodes, can when left
    /// out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "BytesPerSec::deserialize_option",
        serialize_with = "BytesPerSec::serialize_option"
    )]
    #[schemars(schema_with = "BytesPerSec::text_schema")]
    pub bandwidth: Option<BytesPerSec>,
    /// What a node can take of it, for example `"2 GB/s"`; `"2 GB/s"` when left out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "BytesPerSec::deserialize_option",
        serialize_with = "BytesPerSec::serialize_option"
    )]
    #[schemars(schema_with = "BytesPerSec::text_schema")]
    pub node_bandwidth: Option<BytesPerSec>,
    /// Time until the first byte of a sample, for example `"15 ms"`; `"1 ms"` when left out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Nanos::deserialize_option",
        serialize_with = "Nanos::serialize_option"
    )]
    #[schemars(schema_with = "Nanos::text_schema")]
    pub latency: Option<Nanos>,
    /// Servers that hold the bytes (Lustre's OSTs, Ceph's OSDs); taken for one that is never unevenly loaded when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub servers: Option<u32>,
    /// What one of them delivers, for example `"1 GB/s"`, which is taken when left out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "BytesPerSec::deserialize_option",
        serialize_with = "BytesPerSec::serialize_option"
    )]
    #[schemars(schema_with = "BytesPerSec::text_schema")]
    pub server_bandwidth: Option<BytesPerSec>,
    /// Servers over which a file is spread; 1 when left out, as in Lustre.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stripe_count: Option<u32>,
    /// Bytes of a file that lie at one server before it goes on at the next, for example `"1 MiB"`, which is taken when left
    /// out, as in Lustre.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Bytes::deserialize_option",
        serialize_with = "Bytes::serialize_option"
    )]
    #[schemars(schema_with = "Bytes::text_schema")]
    pub stripe_size: Option<Bytes>,
    /// Copies of each file, of which the one at the least busy servers is read; 1 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Servers that look up and open files; opening costs nothing of its own when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata_servers: Option<u32>,
    /// Files that one of them opens in a second; 20000 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata_rate: Option<f64>,
}

/// What makes batches of samples, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LoaderFile {
    /// Processes of each replica that read and decode; 8 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<u32>,
    /// Batches of each worker that may wait; 2 when left out, as in PyTorch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefetch: Option<u32>,
    /// Time to decode and augment a sample on a core, for example `"8 ms"`; nothing when left out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Nanos::deserialize_option",
        serialize_with = "Nanos::serialize_option"
    )]
    #[schemars(schema_with = "Nanos::text_schema")]
    pub decode: Option<Nanos>,
    /// Bytes of a sample as the step reads it, for example `"600 KB"`; four for every number that the model takes when
    /// left out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Bytes::deserialize_option",
        serialize_with = "Bytes::serialize_option"
    )]
    #[schemars(schema_with = "Bytes::text_schema")]
    pub decoded: Option<Bytes>,
    /// Batches are copied to the device from memory that is not pinned: the step waits for every copy.
    pub pageable: bool,
}

/// Nodes beside the cluster that read and decode for it, as it is written (Audibert et al. 2023, "tf.data service").
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PreprocessingFile {
    /// How many there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<u32>,
    /// Processes of each that read and decode; 64 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<u32>,
    /// What each sends to the cluster, for example `"12 GB/s"`, which is taken when left out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "BytesPerSec::deserialize_option",
        serialize_with = "BytesPerSec::serialize_option"
    )]
    #[schemars(schema_with = "BytesPerSec::text_schema")]
    pub bandwidth: Option<BytesPerSec>,
}

/// Where samples lie.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Storage {
    /// What it delivers to all nodes together.
    pub bandwidth: BytesPerSec,
    /// What a node can take of it.
    pub node_bandwidth: BytesPerSec,
    /// Time until the first byte of a sample.
    pub latency: Nanos,
    /// The servers that hold the bytes, where they are told apart.
    pub servers: Option<Servers>,
    /// Files that all metadata servers open in a second, where that is a limit.
    pub opens: Option<f64>,
}

/// Servers of a distributed file system.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Servers {
    /// How many there are.
    pub count: u32,
    /// What one of them delivers.
    pub bandwidth: BytesPerSec,
    /// Servers over which a file is spread.
    pub stripe_count: u32,
    /// Bytes of a file that lie at one server before it goes on at the next.
    pub stripe_size: Bytes,
    /// Copies of each file.
    pub replicas: u32,
}

impl Servers {
    /// What each server has of a read of so many bytes, the first first.
    pub fn parts(&self, size: Bytes) -> Vec<Bytes> {
        let stripe = self.stripe_size.0.max(1);
        let servers = u64::from(self.stripe_count.max(1)).min(size.0.div_ceil(stripe)).max(1);
        let (whole, rest) = (size.0 / stripe, size.0 % stripe);
        let of = |server: u64| {
            let stripes = whole / servers + u64::from(server < whole % servers);
            Bytes(stripes * stripe + if server == whole % servers { rest } else { 0 })
        };
        (0..servers).map(of).collect()
    }

    /// What one read of so many bytes gets at most: the server that has most of it decides.
    pub fn alone(&self, size: Bytes) -> BytesPerSec {
        let most = self.parts(size).into_iter().max().unwrap_or(size).as_f64();
        BytesPerSec(self.bandwidth.0 * size.as_f64() / most.max(1.0))
    }
}

/// What makes batches of samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LoaderSettings {
    /// Processes of each replica.
    pub workers: u32,
    /// Batches of each worker that may wait.
    pub prefetch: u32,
    /// Time to decode a sample on a core.
    pub decode: Nanos,
    /// Bytes of a sample as the step reads it.
    pub decoded: Bytes,
    /// Whether the step waits for every copy to the device.
    pub pageable: bool,
}

/// Nodes beside the cluster that read and decode for it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Preprocessing {
    /// How many there are.
    pub nodes: u32,
    /// Processes of each.
    pub workers: u32,
    /// What each sends to the cluster.
    pub bandwidth: BytesPerSec,
}
