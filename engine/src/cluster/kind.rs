//! Devices and links that differ from the others of a cluster: stragglers, other devices, degraded links.

use serde::Serialize;

use super::{Device, Link};
use crate::units::{BytesPerSec, FlopsPerSec, Nanos};

/// A device with its links.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Kind {
    /// What computes.
    pub device: Device,
    /// Between devices of its node.
    pub intra_link: Link,
    /// To the network.
    pub inter_link: Link,
}

impl Kind {
    /// The same with kernels that run at `speed` of their rate: every kernel takes `1 / speed` of its time.
    #[must_use]
    pub fn slowed(mut self, speed: f64) -> Self {
        let device = &mut self.device;
        device.fp32 = FlopsPerSec(device.fp32.0 * speed);
        for rate in device.matmul_rates_mut() {
            *rate = FlopsPerSec(rate.0 * speed);
        }
        device.memory_bandwidth = BytesPerSec(device.memory_bandwidth.0 * speed);
        #[expect(clippy::cast_possible_truncation, reason = "at most a thousand times longer")]
        let launch = (device.launch_overhead.0 as f64 / speed).round() as i64;
        device.launch_overhead = Nanos(launch);
        self
    }

    /// The same with a share of the bandwidth of its links: inside the node, and to the network.
    #[must_use]
    pub fn degraded(mut self, inside: f64, network: f64) -> Self {
        self.intra_link.efficiency *= inside;
        self.inter_link.efficiency *= network;
        self.intra_link.in_network = self.intra_link.in_network.map(|rate| BytesPerSec(rate.0 * inside));
        self
    }
}

/// The links that the ranks of a group have in common: the slowest of each kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Links<'a> {
    /// Inside nodes.
    pub intra: &'a Link,
    /// To the network.
    pub inter: &'a Link,
}

impl<'a> Links<'a> {
    /// The slower of both, kind by kind.
    #[must_use]
    pub fn slower(self, other: Self) -> Self {
        Self { intra: slower(self.intra, other.intra), inter: slower(self.inter, other.inter) }
    }
}

fn slower<'a>(a: &'a Link, b: &'a Link) -> &'a Link {
    if b.effective_bandwidth().0 < a.effective_bandwidth().0 { b } else { a }
}
