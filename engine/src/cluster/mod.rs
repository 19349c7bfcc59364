//! What it runs on: devices, the links between them, and the mesh of ranks laid over them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

mod cube_mesh;
mod file;
mod mesh;
mod topology;

pub use cube_mesh::ring_share;
pub use file::{DeviceFile, LinkFile, LinkLayout};
pub use mesh::{Coordinates, Group, Mesh, RankId};
use serde::Serialize;
pub use topology::{ClusterNode, Topology};

use crate::units::{Bytes, BytesPerSec, FlopsPerSec, Nanos};

/// What one accelerator can do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Device {
    /// Preset or user's name.
    pub name: String,
    /// Peak rate of fp32 arithmetic outside matrix units.
    pub fp32: FlopsPerSec,
    /// Peak matmul rate in plain fp32.
    pub fp32_matmul: FlopsPerSec,
    /// Peak matmul rate for fp32 inputs that matrix units round to TF32.
    pub tf32_matmul: FlopsPerSec,
    /// Peak dense matmul rate for bf16 inputs.
    pub bf16_matmul: FlopsPerSec,
    /// Peak dense matmul rate for fp16 inputs.
    pub fp16_matmul: FlopsPerSec,
    /// Peak dense matmul rate for fp8 inputs.
    pub fp8_matmul: FlopsPerSec,
    /// Share of the peak that the best large matmul reaches.
    pub matmul_efficiency: f64,
    /// Share of the matmul peak that attention kernels reach.
    pub attention_efficiency: f64,
    /// Capacity.
    pub memory: Bytes,
    /// Peak memory bandwidth.
    pub memory_bandwidth: BytesPerSec,
    /// Share of the bandwidth that a streaming kernel reaches.
    pub memory_efficiency: f64,
    /// Time that a kernel takes at least.
    pub launch_overhead: Nanos,
    /// Time that the host takes to issue one op of the graph.
    pub host_dispatch: Nanos,
    /// Measured over predicted step time of published runs: the middle four fifths lie between these.
    pub residuals: Option<[f64; 2]>,
    /// Multiprocessors over which the tiles of a matmul are spread; 0 where waves are not counted.
    pub multiprocessors: u32,
}

/// A link, seen by one device, in one direction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Link {
    /// What it is called.
    pub name: String,
    /// Rate per direction.
    pub bandwidth: BytesPerSec,
    /// Time of one hop of an empty message.
    pub latency: Nanos,
    /// Share of the rate that large messages reach.
    pub efficiency: f64,
    /// How devices are joined.
    pub layout: LinkLayout,
    /// Rate at which switches add up what ranks send them, where they can.
    pub in_network: Option<BytesPerSec>,
}

impl Link {
    /// The rate that large messages reach.
    pub fn effective_bandwidth(&self) -> BytesPerSec {
        BytesPerSec(self.bandwidth.0 * self.efficiency)
    }
}

/// Identical nodes of identical devices, joined by a non-blocking network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cluster {
    /// Every device.
    pub device: Device,
    /// Number of nodes.
    pub nodes: u32,
    /// Devices in each.
    pub devices_per_node: u32,
    /// Between devices of one node.
    pub intra_link: Link,
    /// From a device to the network (one adapter per device).
    pub inter_link: Link,
}

impl Cluster {
    /// All devices.
    pub fn devices(&self) -> u32 {
        self.nodes * self.devices_per_node
    }

    /// The node on which a rank runs: ranks fill nodes in order.
    pub fn node_of(&self, rank: RankId) -> u32 {
        rank.0 / self.devices_per_node
    }

    /// The link over which two ranks reach each other directly.
    pub fn link_between(&self, a: RankId, b: RankId) -> &Link {
        if self.node_of(a) == self.node_of(b) { &self.intra_link } else { &self.inter_link }
    }
}

/// What was fitted to published measurements, by device.
pub fn fitted_devices() -> &'static BTreeMap<String, DeviceFile> {
    static FITTED: LazyLock<BTreeMap<String, DeviceFile>> =
        LazyLock::new(|| toml::from_str(include_str!("../../../assets/calibration.toml")).unwrap_or_default());
    &FITTED
}

/// The devices that ship with the program, by name.
pub fn presets() -> &'static BTreeMap<String, DeviceFile> {
    static PRESETS: LazyLock<BTreeMap<String, DeviceFile>> = LazyLock::new(|| {
        // The tables are part of the program and a test reads them, so an error cannot reach a user.
        let datasheets: BTreeMap<String, DeviceFile> =
            toml::from_str(include_str!("../../../assets/devices.toml")).unwrap_or_default();
        let fitted = fitted_devices();
        let calibrated = |(name, device): (String, DeviceFile)| {
            let device = match fitted.get(&name) {
                Some(fitted) => fitted.clone().over(&device),
                None => device,
            };
            (name, device)
        };
        datasheets.into_iter().map(calibrated).collect()
    });
    &PRESETS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_table_parses() {
        let table: BTreeMap<String, DeviceFile> =
            toml::from_str(include_str!("../../../assets/devices.toml")).expect("assets/devices.toml parses");
        assert!(table.keys().eq(presets().keys()));
        assert!(table.contains_key("h100-80gb-sxm"));
        let fitted: BTreeMap<String, DeviceFile> =
            toml::from_str(include_str!("../../../assets/calibration.toml")).expect("assets/calibration.toml parses");
        assert!(fitted.keys().all(|name| table.contains_key(name)), "what is fitted is a device");
    }
}
