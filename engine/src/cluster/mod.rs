//! What it runs on: devices, the links between them, and the mesh of ranks laid over them.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

mod cube_mesh;
mod file;
mod kind;
mod mesh;
mod network;
mod shaders;
mod topology;

pub use cube_mesh::ring_share;
pub use file::{DeviceFile, ExceptionFile, LinkFile, LinkLayout};
pub use kind::{Kind, Links};
pub use mesh::{Coordinates, Group, Mesh, MeshAxis, RankId};
pub use network::{AlgorithmChoice, Network, NetworkFile, NetworkKind};
use serde::Serialize;
pub use shaders::{ShaderRates, ShortRates};
pub use topology::{ClusterLink, ClusterNode, Loads, Pattern, Share, Topology};

use crate::units::{Bytes, BytesPerSec, FlopsPerSec, Nanos, Watts};

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
    /// Peak dense matmul rate for fp4 inputs.
    pub fp4_matmul: FlopsPerSec,
    /// Share of the peak that the best large matmul reaches.
    pub matmul_efficiency: f64,
    /// Share of the matmul peak that attention kernels reach.
    pub attention_efficiency: f64,
    /// The share of that which FlashAttention-2 reaches, written for Ampere; taken for its matmuls, too.
    pub flash_2_share: f64,
    /// Of `matmul_efficiency`, the share that matmuls reach which a framework calls one by one: PyTorch's defaults of cuBLAS
    /// instead of algorithms that were chosen for their shapes.
    pub eager_share: f64,
    /// What it draws, where that is known.
    pub power: Option<Power>,
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
    /// What it does of this project's own kernels, where it runs them.
    pub shaders: Option<ShaderRates>,
    /// What a process holds on it beside tensors and the buffers of communicators; 0 where no runtime is known.
    pub context: Bytes,
    /// What the host has for it.
    pub host: Host,
}

/// What a device draws.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Power {
    /// At which its rates hold.
    pub nominal: Watts,
    /// The most that it may draw.
    pub limit: Watts,
}

impl Power {
    /// The share of its nominal power that a device draws whatever its clock: leakage, memory, links. An assumption; an idle
    /// H100 draws about 100 of its 700 W.
    pub const STATIC_SHARE: f64 = 0.15;

    /// The clock under the limit, over that without it. What switches draws `C·V²·f`, and near the top of its range voltage
    /// follows frequency, so that power falls with the third power of the clock (Hennessy & Patterson, "Computer
    /// Architecture", section 1.5).
    pub fn clock(self) -> f64 {
        // Every kernel asks, and few devices are limited.
        if self.limit.0 >= self.nominal.0 {
            return 1.0;
        }
        let fixed = self.nominal.0 * Self::STATIC_SHARE;
        let share = (self.limit.0 - fixed) / (self.nominal.0 - fixed);
        share.clamp(0.0, 1.0).cbrt()
    }
}

impl Device {
    /// The share of its compute rates that its power allows.
    pub fn clock(&self) -> f64 {
        self.power.map_or(1.0, Power::clock)
    }

    /// The share of a matmul's rate that is left where rows do not begin at multiples of 16 bytes. What is copied to shared
    /// memory asynchronously goes in pieces of 4, 8 or 16 bytes, and in two bytes not at all (NVIDIA, "Matrix multiplication
    /// background", section 3.1, asks for 16); a vocabulary of 50257 in 16 bits makes head and loss of small models more
    /// than twice as slow (vTrain's rows with and without tensor parallelism). What newer devices copy in bulk has to be
    /// aligned, so there kernels written for Ampere run.
    pub fn aligned_share(&self, bytes: u64) -> f64 {
        match bytes {
            1 | 2 => 0.4 * self.flash_2_share,
            4 => 0.75 * self.flash_2_share,
            8 => 0.9 * self.flash_2_share,
            _ => 1.0,
        }
    }
}

/// A device's share of its host.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Host {
    /// Rate of copies between the device and the host's memory, in each direction.
    pub bandwidth: BytesPerSec,
    /// Memory.
    pub memory: Bytes,
    /// Rate at which its cores read and write that memory.
    pub memory_bandwidth: BytesPerSec,
    /// Rate at which its drives are read, and written.
    pub storage_bandwidth: BytesPerSec,
}

impl Host {
    /// What is assumed where nothing is said: PCIe 4 with sixteen lanes, of which copies reach four fifths; an eighth of a
    /// server with two sockets of eight DDR4-3200 channels and 2 TB, and one drive for each device.
    pub const ASSUMED: Self = Self {
        bandwidth: BytesPerSec(25.6e9),
        memory: Bytes(250_000_000_000),
        memory_bandwidth: BytesPerSec(40e9),
        storage_bandwidth: BytesPerSec(5e9),
    };
}

impl Device {
    /// The matmul rates of all number formats.
    pub fn matmul_rates_mut(&mut self) -> [&mut FlopsPerSec; 6] {
        [
            &mut self.fp32_matmul,
            &mut self.tf32_matmul,
            &mut self.bf16_matmul,
            &mut self.fp16_matmul,
            &mut self.fp8_matmul,
            &mut self.fp4_matmul,
        ]
    }
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

/// Nodes of devices, joined by a network. Devices are alike but for exceptions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cluster {
    /// Every device that is no exception.
    pub device: Device,
    /// Number of nodes.
    pub nodes: u32,
    /// Devices in each.
    pub devices_per_node: u32,
    /// Between devices of one node.
    pub intra_link: Link,
    /// From a device to the network (one adapter per device).
    pub inter_link: Link,
    /// How nodes are joined.
    pub network: Network,
    /// Whether messages that are under way at the same time share links.
    pub contention: bool,
    /// What all-reduces are carried out by.
    pub all_reduce: AlgorithmChoice,
    /// The graph of devices, switches and links, where the network or contention needs it.
    #[serde(skip)]
    pub topology: Option<Arc<Topology>>,
    /// Devices and links that differ.
    pub exceptions: Vec<Kind>,
    /// For every device, counted through the nodes, 0 or the number of its exception from 1 on; empty where there are
    /// none.
    #[serde(skip)]
    pub kind_of_device: Vec<u16>,
    /// The device of every rank; empty where ranks fill nodes in order.
    #[serde(skip)]
    pub device_of_rank: Vec<u32>,
}

impl Cluster {
    /// All devices.
    pub fn devices(&self) -> u32 {
        self.nodes * self.devices_per_node
    }

    /// The number of the device on which a rank runs.
    pub fn slot_of(&self, rank: RankId) -> u32 {
        self.device_of_rank.get(rank.0 as usize).copied().unwrap_or(rank.0)
    }

    /// The node on which a rank runs.
    pub fn node_of(&self, rank: RankId) -> u32 {
        self.slot_of(rank) / self.devices_per_node
    }

    /// 0, or the number of the exception that a rank's device is.
    pub fn kind_of(&self, rank: RankId) -> u16 {
        self.kind_of_slot(self.slot_of(rank))
    }

    /// The same of a device, by its number through all nodes.
    pub fn kind_of_slot(&self, slot: u32) -> u16 {
        self.kind_of_device.get(slot as usize).copied().unwrap_or(0)
    }

    /// The device on which a rank runs.
    pub fn device_of(&self, rank: RankId) -> &Device {
        self.exception(self.kind_of(rank)).map_or(&self.device, |kind| &kind.device)
    }

    fn exception(&self, kind: u16) -> Option<&Kind> {
        self.exceptions.get(usize::from(kind.checked_sub(1)?))
    }

    fn links_of(&self, kind: u16) -> Links<'_> {
        match self.exception(kind) {
            Some(kind) => Links { intra: &kind.intra_link, inter: &kind.inter_link },
            None => Links { intra: &self.intra_link, inter: &self.inter_link },
        }
    }

    /// The slowest links among ranks of some kinds: bit `i` of `kinds` stands for kind `i`.
    pub fn links(&self, kinds: u32) -> Links<'_> {
        let present =
            (0..=u16::try_from(self.exceptions.len()).unwrap_or(u16::MAX)).filter(|&kind| kinds >> kind & 1 == 1);
        present.map(|kind| self.links_of(kind)).reduce(Links::slower).unwrap_or_else(|| self.links_of(0))
    }

    /// The link over which two ranks reach each other directly; the slower of their two.
    pub fn link_between(&self, a: RankId, b: RankId) -> &Link {
        let links = self.links_of(self.kind_of(a)).slower(self.links_of(self.kind_of(b)));
        if self.node_of(a) == self.node_of(b) { links.intra } else { links.inter }
    }

    /// The least memory that a device has.
    pub fn least_memory(&self) -> Bytes {
        self.exceptions.iter().map(|kind| kind.device.memory).fold(self.device.memory, Bytes::min)
    }

    /// The most of it that tensors and communicators can have.
    pub fn least_memory_for_tensors(&self) -> Bytes {
        let contexts = self.exceptions.iter().map(|kind| kind.device.context);
        let context = contexts.fold(self.device.context, Bytes::min);
        Bytes(self.least_memory().0.saturating_sub(context.0))
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
    fn half_of_what_switches_leaves_four_fifths_of_the_clock() {
        let nominal = Watts(1000.0);
        let clock = |limit| Power { nominal, limit: Watts(limit) }.clock();
        assert_eq!(clock(1000.0), 1.0, "no limit");
        assert!((clock(575.0) - 0.5_f64.cbrt()).abs() < 1e-12, "150 W are drawn whatever the clock");
        assert!(clock(300.0) < clock(500.0), "less power, a lower clock");
    }

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
