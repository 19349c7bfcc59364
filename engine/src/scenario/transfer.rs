//! Something large that is handed to many nodes: a checkpoint, a container, a dataset. As written and as checked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::input::words;
use crate::units::{Bytes, BytesPerSec, Nanos};

words! {
    /// Who hands it on to whom.
    TransferMethod {
        /// The source sends to every node itself.
        Direct = "direct",
        /// Every node that has a chunk sends it to some others.
        Tree = "tree",
        /// Every node hands each chunk on to the next: a ring that is not closed.
        #[default]
        Chain = "chain",
        /// The source gives every node a part, and the nodes exchange their parts around a ring (Van de Geijn 1994;
        /// scatter and all-gather).
        ScatterGather = "scatter_gather",
    }
}

/// A transfer as it is written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TransferFile {
    /// `direct`, `tree`, `chain` or `scatter_gather`.
    pub method: TransferMethod,
    /// What is handed out, for example `"80 GB"`; what the run keeps (fp32 weights and moments) when left out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Bytes::deserialize_option",
        serialize_with = "Bytes::serialize_option"
    )]
    #[schemars(schema_with = "Bytes::text_schema")]
    pub size: Option<Bytes>,
    /// Nodes that receive it; all but one of the cluster when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receivers: Option<u32>,
    /// To how many others a node of a tree sends; 2 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fanout: Option<u32>,
    /// What a node sends at most, and receives, for example `"12.5 GB/s"`; a device's share of the network when left out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "BytesPerSec::deserialize_option",
        serialize_with = "BytesPerSec::serialize_option"
    )]
    #[schemars(schema_with = "BytesPerSec::text_schema")]
    pub bandwidth: Option<BytesPerSec>,
    /// One way, for example `"50 us"`; `"50 us"` when left out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Nanos::deserialize_option",
        serialize_with = "Nanos::serialize_option"
    )]
    #[schemars(schema_with = "Nanos::text_schema")]
    pub latency: Option<Nanos>,
    /// The share of packets that is lost; 0 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Bytes that a stream may have under way, for example `"4 MB"`, which is taken when left out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Bytes::deserialize_option",
        serialize_with = "Bytes::serialize_option"
    )]
    #[schemars(schema_with = "Bytes::text_schema")]
    pub window: Option<Bytes>,
    /// Streams beside each other between two nodes; 8 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<u32>,
    /// What is sent, checked and acknowledged at a time, for example `"16 MB"`, which is taken when left out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Bytes::deserialize_option",
        serialize_with = "Bytes::serialize_option"
    )]
    #[schemars(schema_with = "Bytes::text_schema")]
    pub chunk: Option<Bytes>,
    /// What compression leaves of it, for example 0.8; 1, and no compression, when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<f64>,
    /// How fast a node compresses, for example `"2 GB/s"`, which is taken when left out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "BytesPerSec::deserialize_option",
        serialize_with = "BytesPerSec::serialize_option"
    )]
    #[schemars(schema_with = "BytesPerSec::text_schema")]
    pub compress_rate: Option<BytesPerSec>,
    /// How fast it decompresses; `"4 GB/s"` when left out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "BytesPerSec::deserialize_option",
        serialize_with = "BytesPerSec::serialize_option"
    )]
    #[schemars(schema_with = "BytesPerSec::text_schema")]
    pub decompress_rate: Option<BytesPerSec>,
    /// Whether every chunk has a checksum of its own, and is sent again where it does not match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksums: Option<bool>,
    /// How fast a node computes checksums; `"10 GB/s"` when left out.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "BytesPerSec::deserialize_option",
        serialize_with = "BytesPerSec::serialize_option"
    )]
    #[schemars(schema_with = "BytesPerSec::text_schema")]
    pub checksum_rate: Option<BytesPerSec>,
    /// The share of packets that arrives changed and is not noticed by the network; 1e-10 when left out (Stone & Partridge
    /// 2000, "When the CRC and TCP checksum disagree": one of 16 million to 10 thousand million).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corruption: Option<f64>,
}

/// A transfer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Transfer {
    /// Who hands it on to whom.
    pub method: TransferMethod,
    /// What is handed out.
    pub size: Bytes,
    /// Nodes that receive it.
    pub receivers: u32,
    /// To how many others a node of a tree sends.
    pub fanout: u32,
    /// What a node sends at most, and receives.
    pub bandwidth: BytesPerSec,
    /// One way.
    pub latency: Nanos,
    /// The share of packets that is lost.
    pub loss: f64,
    /// Bytes that a stream may have under way.
    pub window: Bytes,
    /// Streams between two nodes.
    pub streams: u32,
    /// What is sent at a time.
    pub chunk: Bytes,
    /// What compression leaves of it; 1 for none.
    pub compression: f64,
    /// How fast a node compresses.
    pub compress_rate: BytesPerSec,
    /// How fast it decompresses.
    pub decompress_rate: BytesPerSec,
    /// Whether every chunk has a checksum.
    pub checksums: bool,
    /// How fast a node computes them.
    pub checksum_rate: BytesPerSec,
    /// The share of packets that arrives changed and is not noticed.
    pub corruption: f64,
}
