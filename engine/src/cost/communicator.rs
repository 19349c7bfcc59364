//! What a communicator keeps on each of its devices, beside all tensors: NCCL's buffers.
//!
//! For every channel and every peer from which a rank receives there is a buffer for each of three protocols: 4 MiB
//! (`NCCL_BUFFSIZE`), 640 threads × 120 elements of 8 B × 8 steps (LL128), and 512 threads × 8 lines of 16 B × 8 steps
//! (LL); allocations are multiples of 2 MiB. Across the network the sender has them too.

use super::GroupSpan;
use crate::cluster::Cluster;
use crate::units::Bytes;

/// The buffers of a connection: 4 MiB + 4915200 B + 512 KiB, rounded up.
const CONNECTION: Bytes = Bytes(10 << 20);
/// What two ranks of a node that send to each other outside of collectives keep besides, one on each side.
const PAIR: Bytes = Bytes(4 << 20);
/// Channels between devices of a node, and at most between nodes, as `cost::host` counts them.
const CHANNELS: u64 = 16;
/// Channels of a network adapter: `ncclTopoPostset` doubles those that it finds (NVIDIA/nccl, issue 524).
const CHANNELS_OF_AN_ADAPTER: u64 = 2;
/// Channels of two ranks of a node that exchange messages (NVIDIA/nccl, issue 1685: 32 on H100).
const CHANNELS_OF_A_PAIR: u64 = 32;

/// The buffers of a rank in a communicator for collectives by ring and tree. Inside a node a rank receives from one
/// neighbour of the ring and two of the tree, which is a chain there; across the network a ring has one connection each
/// way, a double binary tree up to three. Of a node's ranks one crosses to the network on each channel.
pub fn collective_buffers(cluster: &Cluster, span: GroupSpan) -> Bytes {
    if span.ranks < 2 || !has_communicators(cluster) {
        return Bytes::ZERO;
    }
    if span.nodes == 1 {
        let of_tree = u64::from(span.ranks > 2) + 1;
        return CONNECTION * (CHANNELS * (1 + of_tree));
    }
    let local = u64::from(span.ranks_per_node.max(1));
    let channels = (CHANNELS_OF_AN_ADAPTER * local).min(CHANNELS);
    let (inside, across) = (if local > 1 { 3 } else { 0 }, 8);
    Bytes(CONNECTION.0 * channels * (inside * (local - 1) + across) / local)
}

/// The buffers of a rank that exchanges messages with all ranks of a group. Messages to other nodes share a buffer
/// (NVIDIA/nccl, issue 1450), so only peers of the same node count.
pub fn exchange_buffers(cluster: &Cluster, span: GroupSpan) -> Bytes {
    let peers = u64::from(span.ranks_per_node.max(1)) - 1;
    if has_communicators(cluster) { (CONNECTION + PAIR) * (CHANNELS_OF_A_PAIR * peers) } else { Bytes::ZERO }
}

/// The buffers for messages to and from one other rank, as pipeline stages exchange them.
pub fn neighbour_buffers(cluster: &Cluster, same_node: bool) -> Bytes {
    match has_communicators(cluster) {
        false => Bytes::ZERO,
        true if same_node => (CONNECTION + PAIR) * CHANNELS_OF_A_PAIR,
        true => CONNECTION * (2 * CHANNELS_OF_AN_ADAPTER),
    }
}

/// Whether a device has a runtime of which this is known.
fn has_communicators(cluster: &Cluster) -> bool {
    cluster.device.context > Bytes::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::RankId;
    use crate::scenario::Scenario;

    fn cluster() -> Cluster {
        Scenario::preset("llama3-405b-16384xh100").expect("a preset").cluster().clone()
    }

    fn span(cluster: &Cluster, ranks: impl Iterator<Item = u32>) -> GroupSpan {
        GroupSpan::of(cluster, &ranks.map(RankId).collect::<Vec<_>>())
    }

    #[test]
    fn an_exchange_in_a_node_holds_what_was_measured() {
        // NVIDIA/nccl, issue 1685: 1.06 GB before the first all-to-all of eight H100, 4.34 GB behind it.
        let cluster = cluster();
        let held = exchange_buffers(&cluster, span(&cluster, 0..8)).as_f64();
        assert!((held / (4.34e9 - 1.06e9) - 1.0).abs() < 0.01, "{held}");
    }

    #[test]
    fn buffers_do_not_grow_with_nodes() {
        // NVIDIA/nccl, issue 986: beyond two nodes memory no longer increases.
        let cluster = cluster();
        let of = |ranks: u32| collective_buffers(&cluster, span(&cluster, 0..ranks));
        assert_eq!(of(16), of(1024));
        assert_eq!(of(1), Bytes::ZERO);
        assert_eq!(of(8), Bytes(16 * 3 * (10 << 20)));
        let one_of_each_node = span(&cluster, (0..8).map(|node| node * 8));
        assert_eq!(collective_buffers(&cluster, one_of_each_node), Bytes(2 * 8 * (10 << 20)));
    }
}
