//! Devices and links as they are written in files.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ShaderRates;
use crate::units::{Bytes, BytesPerSec, FlopsPerSec, Nanos, Watts};

/// A device as it is written in a file: every field may be left out where a preset gives it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceFile {
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Peak fp32 rate outside matrix units, for example `"19.5 TFLOP/s"`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "FlopsPerSec::deserialize_option",
        serialize_with = "FlopsPerSec::serialize_option"
    )]
    #[schemars(schema_with = "FlopsPerSec::text_schema")]
    pub fp32: Option<FlopsPerSec>,
    /// Peak matmul rate for fp32 inputs, where matrix units take them; `fp32` when left out.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "FlopsPerSec::deserialize_option",
        serialize_with = "FlopsPerSec::serialize_option"
    )]
    #[schemars(schema_with = "FlopsPerSec::text_schema")]
    pub tf32: Option<FlopsPerSec>,
    /// Peak matmul rate in plain fp32; that outside matrix units when left out.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "FlopsPerSec::deserialize_option",
        serialize_with = "FlopsPerSec::serialize_option"
    )]
    #[schemars(schema_with = "FlopsPerSec::text_schema")]
    pub fp32_matmul: Option<FlopsPerSec>,
    /// Peak dense matmul rate for fp16 inputs; that for bf16 when left out.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "FlopsPerSec::deserialize_option",
        serialize_with = "FlopsPerSec::serialize_option"
    )]
    #[schemars(schema_with = "FlopsPerSec::text_schema")]
    pub fp16: Option<FlopsPerSec>,
    /// Peak dense matmul rate for fp8 inputs; that for bf16 when left out.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "FlopsPerSec::deserialize_option",
        serialize_with = "FlopsPerSec::serialize_option"
    )]
    #[schemars(schema_with = "FlopsPerSec::text_schema")]
    pub fp8: Option<FlopsPerSec>,
    /// Peak dense matmul rate for fp4 inputs; that for fp8 when left out.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "FlopsPerSec::deserialize_option",
        serialize_with = "FlopsPerSec::serialize_option"
    )]
    #[schemars(schema_with = "FlopsPerSec::text_schema")]
    pub fp4: Option<FlopsPerSec>,
    /// Peak dense matmul rate for bf16 inputs.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "FlopsPerSec::deserialize_option",
        serialize_with = "FlopsPerSec::serialize_option"
    )]
    #[schemars(schema_with = "FlopsPerSec::text_schema")]
    pub bf16: Option<FlopsPerSec>,
    /// Share of the peak that the best large matmul reaches, above 0 and at most 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matmul_efficiency: Option<f64>,
    /// Share of the matmul peak that attention kernels reach, forward and backward together; `matmul_efficiency`
    /// when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention_efficiency: Option<f64>,
    /// Of what `attention_efficiency` says, the share that FlashAttention-2 reaches, which was written for Ampere; 1 when
    /// left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flash_2_share: Option<f64>,
    /// Of what `matmul_efficiency` says, the share that matmuls of eager kernels reach; 1 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eager_share: Option<f64>,
    /// Power at which its rates hold, for example `"700 W"`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Watts::deserialize_option",
        serialize_with = "Watts::serialize_option"
    )]
    #[schemars(schema_with = "Watts::text_schema")]
    pub power: Option<Watts>,
    /// The most that it may draw; its clock falls where that is below `power`. As much as `power` when left out.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Watts::deserialize_option",
        serialize_with = "Watts::serialize_option"
    )]
    #[schemars(schema_with = "Watts::text_schema")]
    pub power_limit: Option<Watts>,
    /// Capacity, for example `"80 GB"`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Bytes::deserialize_option",
        serialize_with = "Bytes::serialize_option"
    )]
    #[schemars(schema_with = "Bytes::text_schema")]
    pub memory: Option<Bytes>,
    /// Peak memory bandwidth, for example `"2039 GB/s"`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "BytesPerSec::deserialize_option",
        serialize_with = "BytesPerSec::serialize_option"
    )]
    #[schemars(schema_with = "BytesPerSec::text_schema")]
    pub memory_bandwidth: Option<BytesPerSec>,
    /// Share of the bandwidth that a streaming kernel reaches, above 0 and at most 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_efficiency: Option<f64>,
    /// Time that a kernel takes at least, for example `"4 us"`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Nanos::deserialize_option",
        serialize_with = "Nanos::serialize_option"
    )]
    #[schemars(schema_with = "Nanos::text_schema")]
    pub launch_overhead: Option<Nanos>,
    /// Time that the host takes to issue one op of the graph, for example `"15 us"`; none when left out.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Nanos::deserialize_option",
        serialize_with = "Nanos::serialize_option"
    )]
    #[schemars(schema_with = "Nanos::text_schema")]
    pub host_dispatch: Option<Nanos>,
    /// Measured over predicted step time of published runs on it: the tenth and the ninetieth percentile of those that
    /// nothing was fitted to. None when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residuals: Option<[f64; 2]>,
    /// Multiprocessors over which the tiles of a matmul are spread; without them waves are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiprocessors: Option<u32>,
    /// How fast it runs this project's own kernels, as `shardlab calibrate` measures it; without it, kernels are taken to
    /// be a vendor's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shaders: Option<ShaderRates>,
    /// Rate of copies between the device and its host's memory, in each direction; `"25.6 GB/s"` when left out.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "BytesPerSec::deserialize_option",
        serialize_with = "BytesPerSec::serialize_option"
    )]
    #[schemars(schema_with = "BytesPerSec::text_schema")]
    pub host_bandwidth: Option<BytesPerSec>,
    /// A device's share of the host's memory; `"250 GB"` when left out.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Bytes::deserialize_option",
        serialize_with = "Bytes::serialize_option"
    )]
    #[schemars(schema_with = "Bytes::text_schema")]
    pub host_memory: Option<Bytes>,
    /// A device's share of the rate at which the host's cores read and write that memory; `"40 GB/s"` when left out.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "BytesPerSec::deserialize_option",
        serialize_with = "BytesPerSec::serialize_option"
    )]
    #[schemars(schema_with = "BytesPerSec::text_schema")]
    pub host_memory_bandwidth: Option<BytesPerSec>,
    /// A device's share of the rate of the host's drives; `"5 GB/s"` when left out.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "BytesPerSec::deserialize_option",
        serialize_with = "BytesPerSec::serialize_option"
    )]
    #[schemars(schema_with = "BytesPerSec::text_schema")]
    pub storage_bandwidth: Option<BytesPerSec>,
    /// What a process holds on the device beside its tensors: the runtime's context and the code of loaded kernels, for
    /// example `"1343 MiB"`. None when left out, and then communicators have no buffers either.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Bytes::deserialize_option",
        serialize_with = "Bytes::serialize_option"
    )]
    #[schemars(schema_with = "Bytes::text_schema")]
    pub context_memory: Option<Bytes>,
    /// Devices in a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices_per_node: Option<u32>,
    /// Link between devices of one node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intra_link: Option<LinkFile>,
    /// Link from a device to the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inter_link: Option<LinkFile>,
}

impl DeviceFile {
    /// The fields of `self`, and those of `base` where `self` says nothing.
    pub fn over(self, base: &Self) -> Self {
        Self {
            title: self.title.or_else(|| base.title.clone()),
            fp32: self.fp32.or(base.fp32),
            tf32: self.tf32.or(base.tf32),
            fp32_matmul: self.fp32_matmul.or(base.fp32_matmul),
            fp16: self.fp16.or(base.fp16),
            fp8: self.fp8.or(base.fp8),
            fp4: self.fp4.or(base.fp4),
            bf16: self.bf16.or(base.bf16),
            matmul_efficiency: self.matmul_efficiency.or(base.matmul_efficiency),
            attention_efficiency: self.attention_efficiency.or(base.attention_efficiency),
            flash_2_share: self.flash_2_share.or(base.flash_2_share),
            eager_share: self.eager_share.or(base.eager_share),
            power: self.power.or(base.power),
            power_limit: self.power_limit.or(base.power_limit),
            memory: self.memory.or(base.memory),
            memory_bandwidth: self.memory_bandwidth.or(base.memory_bandwidth),
            memory_efficiency: self.memory_efficiency.or(base.memory_efficiency),
            launch_overhead: self.launch_overhead.or(base.launch_overhead),
            host_dispatch: self.host_dispatch.or(base.host_dispatch),
            residuals: self.residuals.or(base.residuals),
            multiprocessors: self.multiprocessors.or(base.multiprocessors),
            shaders: self.shaders.or(base.shaders),
            host_bandwidth: self.host_bandwidth.or(base.host_bandwidth),
            host_memory: self.host_memory.or(base.host_memory),
            host_memory_bandwidth: self.host_memory_bandwidth.or(base.host_memory_bandwidth),
            context_memory: self.context_memory.or(base.context_memory),
            storage_bandwidth: self.storage_bandwidth.or(base.storage_bandwidth),
            devices_per_node: self.devices_per_node.or(base.devices_per_node),
            intra_link: LinkFile::over(self.intra_link, base.intra_link.as_ref()),
            inter_link: LinkFile::over(self.inter_link, base.inter_link.as_ref()),
        }
    }
}

/// How the devices of a node are joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LinkLayout {
    /// Any two at the full rate.
    #[default]
    Switch,
    /// The hybrid cube mesh of eight V100, in which the rate depends on how many take part.
    CubeMesh,
}

/// A link as it is written in a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkFile {
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Rate per device and direction, for example `"400 Gb/s"`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "BytesPerSec::deserialize_option",
        serialize_with = "BytesPerSec::serialize_option"
    )]
    #[schemars(schema_with = "BytesPerSec::text_schema")]
    pub bandwidth: Option<BytesPerSec>,
    /// Time of one hop of an empty message, for example `"2 us"`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "Nanos::deserialize_option",
        serialize_with = "Nanos::serialize_option"
    )]
    #[schemars(schema_with = "Nanos::text_schema")]
    pub latency: Option<Nanos>,
    /// Share of the rate that large messages reach, above 0 and at most 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub efficiency: Option<f64>,
    /// How devices are joined: `switch` or `cube_mesh`; by a switch when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<LinkLayout>,
    /// Rate at which switches add up what ranks send them, for example `"270 GB/s"`; none when left out.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "BytesPerSec::deserialize_option",
        serialize_with = "BytesPerSec::serialize_option"
    )]
    #[schemars(schema_with = "BytesPerSec::text_schema")]
    pub in_network: Option<BytesPerSec>,
}

impl LinkFile {
    fn over(this: Option<Self>, base: Option<&Self>) -> Option<Self> {
        let Some(base) = base else { return this };
        let this = this.unwrap_or_default();
        Some(Self {
            name: this.name.or_else(|| base.name.clone()),
            bandwidth: this.bandwidth.or(base.bandwidth),
            latency: this.latency.or(base.latency),
            efficiency: this.efficiency.or(base.efficiency),
            layout: this.layout.or(base.layout),
            in_network: this.in_network.or(base.in_network),
        })
    }
}

/// Nodes or devices that differ from the others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExceptionFile {
    /// Numbers of nodes, from 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<u32>,
    /// Numbers of single devices, counted through all nodes from 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<u32>,
    /// Name of a device preset, where it is another device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Share of their rate at which kernels run, for a straggler; 1 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<f64>,
    /// Share of the bandwidth of links inside the node that is left; 1 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intra_share: Option<f64>,
    /// Share of the bandwidth to the network that is left; 1 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_share: Option<f64>,
}
