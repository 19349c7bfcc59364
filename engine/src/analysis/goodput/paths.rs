//! The way of a checkpoint through memory, drives, network and storage, and back.

use serde::Serialize;

use crate::cluster::Cluster;
use crate::scenario::resilience::{CheckpointMode, Checkpointing};
use crate::units::{Bytes, BytesPerSec, Nanos};

/// No checkpoint takes longer than the longest horizon.
const LONGEST: Nanos = Nanos(3650 * 86_400 * 1_000_000_000);

/// Where a checkpoint lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// The memory of devices.
    Device,
    /// The memory of their hosts.
    Host,
    /// The drives of a node.
    Drives,
    /// The memory of another node's host.
    Peer,
    /// Storage that all nodes share.
    Storage,
}

impl Tier {
    /// The name in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Host => "host",
            Self::Drives => "drives",
            Self::Peer => "peer",
            Self::Storage => "storage",
        }
    }
}

/// A part of a way.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Hop {
    /// From where.
    pub from: Tier,
    /// To where.
    pub to: Tier,
    /// Rate at which all nodes together take it.
    pub rate: BytesPerSec,
    /// How long a whole checkpoint takes by itself.
    pub time: Nanos,
}

/// How a way to take checkpoints goes: hops of a part run at the same time, so that the slowest decides.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Paths {
    /// While the steps wait.
    pub blocking: Vec<Hop>,
    /// Then, while they go on.
    pub background: Vec<Hop>,
    /// Back, after a node was lost.
    pub read: Vec<Hop>,
    /// Back, after software failed.
    pub read_here: Vec<Hop>,
}

impl Paths {
    /// The ways of checkpoints of `state` bytes.
    pub fn of(checkpoint: &Checkpointing, cluster: &Cluster, state: Bytes, mode: CheckpointMode) -> Self {
        let hops = Hops { checkpoint, cluster, state };
        let out = hops.hop(Tier::Device, Tier::Host);
        let back = [Tier::Storage, Tier::Host, Tier::Device];
        let stored = || hops.along(&back);
        let (blocking, background, read, read_here) = match mode {
            CheckpointMode::Full => (vec![out, hops.gathered(), hops.alone()], vec![], stored(), stored()),
            CheckpointMode::Sharded => {
                (hops.along(&[Tier::Device, Tier::Host, Tier::Storage]), vec![], stored(), stored())
            }
            CheckpointMode::Async => (vec![out], hops.along(&[Tier::Host, Tier::Storage]), stored(), stored()),
            CheckpointMode::Peer => {
                let back = hops.along(&[Tier::Peer, Tier::Host, Tier::Device]);
                (vec![out], hops.along(&[Tier::Host, Tier::Peer]), back.clone(), back)
            }
            CheckpointMode::MultiLevel => (
                hops.along(&[Tier::Device, Tier::Host, Tier::Drives]),
                hops.along(&[Tier::Drives, Tier::Storage]),
                stored(),
                hops.along(&[Tier::Drives, Tier::Host, Tier::Device]),
            ),
        };
        Self { blocking, background, read, read_here }
    }
}

/// How long the hops of a part take for so many bytes, of which all have `state`.
pub(super) fn time_of(hops: &[Hop], share: f64) -> Nanos {
    let slowest = hops.iter().map(|hop| hop.time).max().unwrap_or_default();
    Nanos::from_secs(slowest.secs() * share).min(LONGEST)
}

struct Hops<'a> {
    checkpoint: &'a Checkpointing,
    cluster: &'a Cluster,
    state: Bytes,
}

impl Hops<'_> {
    /// Hops from each place to the next.
    fn along(&self, tiers: &[Tier]) -> Vec<Hop> {
        tiers.windows(2).map(|pair| self.hop(pair[0], pair[1])).collect()
    }

    /// A hop of every node's part at the same time.
    fn hop(&self, from: Tier, to: Tier) -> Hop {
        let host = &self.cluster.device.host;
        let (nodes, devices) = (f64::from(self.cluster.nodes), f64::from(self.cluster.devices()));
        let is = |tier: Tier| from == tier || to == tier;
        let drives = if is(Tier::Drives) { host.storage_bandwidth.0 * devices } else { f64::INFINITY };
        let rate = if is(Tier::Storage) {
            (self.checkpoint.node_bandwidth.0 * nodes).min(self.checkpoint.bandwidth.0).min(drives)
        } else if is(Tier::Peer) {
            self.cluster.inter_link.effective_bandwidth().0 * devices
        } else if is(Tier::Drives) {
            drives
        } else {
            host.bandwidth.0 * devices
        };
        self.timed(from, to, rate)
    }

    /// All of it to one node.
    fn gathered(&self) -> Hop {
        let link = self.cluster.inter_link.effective_bandwidth().0 * f64::from(self.cluster.devices_per_node);
        let inside = self.cluster.device.host.memory_bandwidth.0 * f64::from(self.cluster.devices_per_node);
        self.timed(Tier::Host, Tier::Peer, if self.cluster.nodes > 1 { link } else { inside })
    }

    /// All of it from one node.
    fn alone(&self) -> Hop {
        let rate = self.checkpoint.node_bandwidth.0.min(self.checkpoint.bandwidth.0);
        self.timed(Tier::Peer, Tier::Storage, rate)
    }

    fn timed(&self, from: Tier, to: Tier, rate: f64) -> Hop {
        let time = Nanos::from_secs(self.state.as_f64() / rate).min(LONGEST);
        Hop { from, to, rate: BytesPerSec(rate), time }
    }
}
