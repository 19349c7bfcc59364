//! Communication: the alpha-beta model with ring and tree algorithms.
//!
//! Sources: Thakur, Rabenseifner & Gropp 2005, "Optimization of Collective Communication Operations in MPICH",
//! sections 4 and 5 (ring and tree costs); bus bandwidth as in nccl-tests' PERFORMANCE.md.

use super::shader;
use crate::cluster::{
    AlgorithmChoice, Cluster, Group, Link, LinkLayout, Links, Mesh, Pattern, RankId, Share, ring_share,
};
use crate::graph::{Collective, Reduction};
use crate::units::{Bytes, BytesPerSec, Nanos};

/// How the ranks of a group lie on nodes: what the cost of its collectives depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupSpan {
    /// Ranks in the group.
    pub ranks: u32,
    /// Nodes that they are on.
    pub nodes: u32,
    /// The fewest ranks on one of these nodes: as many adapters share the group's traffic between nodes.
    pub ranks_per_node: u32,
    /// Kinds of their devices, as [`Cluster::links`] takes them.
    pub kinds: u32,
    /// What the network lets through of a ring.
    pub ring: Share,
    /// What it lets through when every rank sends to every other; only of groups that do.
    pub direct: Share,
    /// What it lets through when every rank sends to the next.
    pub shift: Share,
}

impl GroupSpan {
    /// The span of a group of ranks.
    pub fn of(cluster: &Cluster, members: &[RankId]) -> Self {
        let mut nodes: Vec<u32> = members.iter().map(|&rank| cluster.node_of(rank)).collect();
        nodes.sort_unstable();
        let per_node = nodes.chunk_by(|a, b| a == b).map(<[u32]>::len);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            ranks: count(members.len()),
            nodes: count(per_node.clone().count()),
            ranks_per_node: count(per_node.min().unwrap_or(0)),
            kinds: members.iter().fold(0, |kinds, &rank| kinds | 1 << cluster.kind_of(rank)),
            ring: Share::ALL,
            direct: Share::ALL,
            shift: Share::ALL,
        }
    }

    /// The span of the group of kind `group` to which `rank` belongs, with what the network lets through to it.
    pub fn of_group(cluster: &Cluster, mesh: &Mesh, group: Group, rank: RankId) -> Self {
        Self::of_members(cluster, group, &mesh.members(group, rank))
    }

    /// The same of a group whose members are known.
    pub fn of_members(cluster: &Cluster, group: Group, members: &[RankId]) -> Self {
        let span = Self::of(cluster, members);
        let Some(topology) = cluster.topology.as_ref().filter(|_| span.nodes > 1) else { return span };
        let slots = cluster.slots_of(members);
        let share = |pattern| topology.share(pattern, &slots);
        let by_hand = cluster.all_reduce == AlgorithmChoice::Direct;
        let exchanges = by_hand || matches!(group, Group::Expert | Group::Context);
        let ring = share(Pattern::Ring);
        // Other groups exchange seldom; routes between all pairs of thousands of ranks would cost more than they tell.
        let [direct, shift] = if exchanges { [Pattern::AllToAll, Pattern::Shift].map(share) } else { [ring; 2] };
        Self { ring, direct, shift, ..span }
    }
}

/// The way in which a collective is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Chunks go around: best for large messages.
    Ring,
    /// Every rank sends to every other that it has something for.
    Direct,
    /// Switches reduce what passes them (NVLink SHARP).
    InNetwork,
    /// Whole messages go up and down binary trees: best for small ones.
    Tree,
    /// Inside nodes, between them, inside again.
    Hierarchical,
    /// Copies between buffers of one device, on which all ranks are; their calls are in its time.
    Copies,
}

impl Algorithm {
    /// What the kernel of a collective costs beside its time.
    pub fn launch(self, launch: Nanos) -> Nanos {
        if self == Self::Copies { Nanos::ZERO } else { launch }
    }
}

/// Bytes that every rank sends (and receives) in a ring collective of a value of `bytes` in full size.
pub fn collective_bytes_per_rank(collective: Collective, bytes: Bytes, ranks: u32) -> Bytes {
    let n = u64::from(ranks.max(1));
    let once = u128::from(bytes.0) * u128::from(n - 1) / u128::from(n);
    let once = Bytes(u64::try_from(once).unwrap_or(u64::MAX));
    match collective {
        Collective::AllReduce(_) => once * 2,
        Collective::ReduceScatter | Collective::AllGather | Collective::Push | Collective::Pull => once,
        Collective::AllToAll | Collective::AllToAllOnce { .. } => once,
        Collective::Shift if n > 1 => bytes,
        Collective::Shift => Bytes::ZERO,
    }
}

/// The time of a collective of a value of `bytes` in full size, by the faster algorithm.
pub fn collective_time(cluster: &Cluster, span: GroupSpan, collective: Collective, bytes: Bytes) -> (Nanos, Algorithm) {
    if span.ranks <= 1 {
        return (Nanos::ZERO, Algorithm::Ring);
    }
    let links = cluster.links(span.kinds);
    let ring = || (ring_time(links, span, collective, bytes), Algorithm::Ring);
    match collective {
        Collective::AllToAll => (all_to_all_time(links, span, bytes, 1), Algorithm::Direct),
        Collective::AllToAllOnce { copies } => (all_to_all_time(links, span, bytes, copies), Algorithm::Direct),
        Collective::Shift => (shift_time(links, span, bytes), Algorithm::Direct),
        Collective::AllReduce(_) => all_reduce_time(links, span, bytes, cluster.all_reduce).unwrap_or_else(ring),
        Collective::ReduceScatter | Collective::AllGather => ring(),
        // Every rank sends each owner its part, or gets it: as many bytes as in an exchange of all with all.
        Collective::Push | Collective::Pull => (all_to_all_time(links, span, bytes, 1), Algorithm::Direct),
    }
}

const SUM: Collective = Collective::AllReduce(Reduction::Sum);

/// An all-reduce by an algorithm, or by the fastest of those among which NCCL chooses; none where switches are to do it
/// and cannot.
fn all_reduce_time(
    links: Links<'_>,
    span: GroupSpan,
    bytes: Bytes,
    choice: AlgorithmChoice,
) -> Option<(Nanos, Algorithm)> {
    let ring = || (ring_time(links, span, SUM, bytes), Algorithm::Ring);
    let double = || (tree_time(links, span, bytes, 2), Algorithm::Tree);
    let switches = || in_network_time(links, span, bytes).map(|time| (time, Algorithm::InNetwork));
    match choice {
        AlgorithmChoice::Auto => {
            [Some(ring()), Some(double()), switches()].into_iter().flatten().min_by_key(|(time, _)| *time)
        }
        AlgorithmChoice::Ring => Some(ring()),
        AlgorithmChoice::BinaryTree => Some((tree_time(links, span, bytes, 4), Algorithm::Tree)),
        AlgorithmChoice::DoubleTree => Some(double()),
        AlgorithmChoice::Hierarchical => Some((hierarchical_time(links, span, bytes), Algorithm::Hierarchical)),
        AlgorithmChoice::Direct => {
            Some((all_to_all_time(links, span, bytes, 1) + all_to_all_time(links, span, bytes, 1), Algorithm::Direct))
        }
        AlgorithmChoice::InNetwork => switches(),
    }
}

/// Reduce-scatter inside nodes, all-reduce of a rank's part between them, all-gather inside.
fn hierarchical_time(links: Links<'_>, span: GroupSpan, bytes: Bytes) -> Nanos {
    let local = span.ranks_per_node.max(1);
    let inside = GroupSpan { ranks: local, nodes: 1, ranks_per_node: local, ..span };
    let between = GroupSpan { ranks: span.nodes, ranks_per_node: 1, ..span };
    let part = Bytes(bytes.0.div_ceil(u64::from(local)));
    let time = |span: GroupSpan, collective, bytes| {
        if span.ranks > 1 { ring_time(links, span, collective, bytes) } else { Nanos::ZERO }
    };
    time(inside, Collective::ReduceScatter, bytes)
        + time(between, SUM, part)
        + time(inside, Collective::AllGather, bytes)
}

/// The same of one of `chunks` that follow each other through buffers that stay registered (Transformer Engine's
/// userbuffers): together they start once. A device that was measured copies a rank's part in so many `runs`.
pub fn chunked_time(
    cluster: &Cluster,
    span: GroupSpan,
    collective: Collective,
    bytes: Bytes,
    chunks: u64,
    runs: u32,
) -> (Nanos, Algorithm) {
    if let Some(rates) = cluster.device.shaders.filter(|_| span.ranks > 1) {
        let rate = cluster.intra_link.effective_bandwidth();
        let time = shader::exchange(&cluster.device, &rates, rate, collective, bytes, [span.ranks, runs]);
        return (time, Algorithm::Copies);
    }
    let (time, algorithm) = collective_time(cluster, span, collective, bytes);
    let saved = START - Nanos(START.0 / i64::try_from(chunks).unwrap_or(i64::MAX).max(1));
    (if span.ranks > 1 { time - saved } else { time }, algorithm)
}

/// How chunks are handed over: small ones with flags beside the data, large ones in bulk. NCCL's source (`tuning.cc`)
/// has the same three with a base time, a time for each hop and the share of the bandwidth that is left.
struct Protocol {
    base: Nanos,
    /// Of the link's latency, which is that of the middle protocol.
    hop: f64,
    bandwidth: f64,
}

/// LL, LL128 and Simple; their hops are 0.6, 1.9 and 3.4 µs on NVLink, and of the same proportion on a network. The base
/// is what small messages take in nccl-tests beyond their hops (`shardlab validate` on a table of collectives).
const PROTOCOLS: [Protocol; 3] = [
    Protocol { base: Nanos(START.0), hop: 0.3, bandwidth: 0.25 },
    Protocol { base: Nanos(START.0 + 6_000), hop: 0.9, bandwidth: 0.92 },
    Protocol { base: Nanos(START.0), hop: 1.62, bandwidth: 1.0 },
];

/// Until a collective's kernel has found its peers.
const START: Nanos = Nanos(34_000);

/// A ring's kernels also move a rank's own chunk, through their own multiprocessors: this share of it counts.
const OWN_CHUNK: f64 = 0.2;

/// What a ring of `ranks` inside a node reaches of the bandwidth that a long ring reaches.
fn short_ring(ranks: u32) -> f64 {
    let passed = f64::from(ranks.max(2) - 1) / f64::from(ranks.max(2));
    (1.0 + OWN_CHUNK) * passed / (passed + OWN_CHUNK)
}

/// The time by the fastest protocol of hops of `latency` in all and of `bytes` over a bandwidth.
fn by_best_protocol(latency: Nanos, bytes: Bytes, bandwidth: BytesPerSec) -> Nanos {
    #[expect(clippy::cast_possible_truncation, reason = "a few times a latency")]
    let time = |protocol: &Protocol| {
        let hops = Nanos((latency.0 as f64 * protocol.hop).round() as i64);
        protocol.base + hops + bytes / BytesPerSec(bandwidth.0 * protocol.bandwidth)
    };
    PROTOCOLS.iter().map(time).min().unwrap_or_default()
}

/// `steps·α + bytes per rank / β`; the slower of the two kinds of links that the ring crosses sets β. A step waits for
/// its slowest hop; steps that stay in a node take as long as those of other nodes.
fn ring_time(links: Links<'_>, span: GroupSpan, collective: Collective, bytes: Bytes) -> Nanos {
    let times = if matches!(collective, Collective::AllReduce(_)) { 2 } else { 1 };
    let across = if span.nodes > 1 { i64::from(span.nodes) } else { 0 };
    let inside = i64::from(span.ranks) - 1 - across;
    let latency = links.intra.latency * inside.max(0) + links.inter.latency * across;
    let sent = collective_bytes_per_rank(collective, bytes, span.ranks);
    by_best_protocol(latency * times, sent, ring_bandwidth(links, span))
}

/// Reduce up and broadcast down a binary tree, pipelined: `2·⌈log₂ n⌉·α + times·bytes / β`. A rank inside one tree
/// takes from two below it and gives to both, 4 times the bytes; with two trees, in which it is a leaf of one, each for
/// half of them, 2 times (Sanders, Speck & Träff 2009, sections 2 and 3).
fn tree_time(links: Links<'_>, span: GroupSpan, bytes: Bytes, times: u64) -> Nanos {
    let levels = |n: u32| i64::from(n.max(1).next_power_of_two().trailing_zeros());
    let inside = links.intra.latency * levels(span.ranks.div_ceil(span.nodes));
    let across = links.inter.latency * levels(span.nodes);
    by_best_protocol((inside + across) * 2, bytes * times, ring_bandwidth(links, span))
}

/// Every rank sends its value to the switches of its node once and gets the sum once; between nodes a ring over all
/// adapters runs at the same time: `start + hops·α + max(bytes / β of the switches, 2·(m - 1)/m·bytes / β of m nodes)`.
fn in_network_time(links: Links<'_>, span: GroupSpan, bytes: Bytes) -> Option<Nanos> {
    let rate = links.intra.in_network.filter(|_| span.ranks_per_node > 1)?;
    let inside = bytes / rate;
    let nodes = collective_bytes_per_rank(SUM, bytes, span.nodes);
    let lanes = f64::from(span.ranks_per_node) * span.ring.factor();
    let adapters = BytesPerSec(links.inter.effective_bandwidth().0 * lanes);
    let hops = links.intra.latency * 2 + links.inter.latency * i64::from(2 * (span.nodes - 1));
    Some(START + hops + inside.max(nodes / adapters))
}

/// Messages of an all-to-all that a rank starts at once (NCCL runs grouped sends on as many channels).
const MESSAGES_AT_ONCE: u32 = 8;

/// Every rank sends the `1/n` of its `bytes` that each other rank gets; what stays in the node and what leaves it go at
/// the same time, each over its own link: `start + ⌈(n - 1) / messages at once⌉·α + max(inside / β₁, outside / β₂)`.
///
/// Of `copies` alike, those for one node cross the network once and are dealt out inside it.
fn all_to_all_time(links: Links<'_>, span: GroupSpan, bytes: Bytes, copies: u32) -> Nanos {
    let n = u64::from(span.ranks);
    let part = |peers: u64| Bytes(bytes.0 / n * peers);
    let neighbours = u64::from(span.ranks_per_node.max(1)) - 1;
    // Copies that cross the network once are dealt out over the links inside the node.
    let local = if copies > 1 && span.nodes > 1 { n - 1 } else { neighbours };
    let inside = part(local) / links.intra.effective_bandwidth();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "less than the bytes")]
    let once = |bytes: Bytes| Bytes((bytes.as_f64() * crossing_share(span.nodes, copies)).round() as u64);
    let adapter = BytesPerSec(links.inter.effective_bandwidth().0 * span.direct.factor());
    let outside = once(part(n - 1 - neighbours)) / adapter;
    START + slowest_hop(links, span) * i64::from((span.ranks - 1).div_ceil(MESSAGES_AT_ONCE)) + inside.max(outside)
}

/// Of `k` copies sent to nodes at random, the share that is the first for its node: expected distinct nodes
/// `m·(1 - (1 - 1/m)^k)` of `m`, over `k`.
fn crossing_share(nodes: u32, copies: u32) -> f64 {
    let (m, k) = (f64::from(nodes.max(1)), f64::from(copies.max(1)));
    m * (1.0 - (1.0 - 1.0 / m).powf(k)) / k
}

/// Every rank sends all of its `bytes` to the next; a ring over nodes waits for its slowest hop.
fn shift_time(links: Links<'_>, span: GroupSpan, bytes: Bytes) -> Nanos {
    let link = if span.nodes > 1 { links.inter } else { links.intra };
    transfer_time(link, bytes, if span.nodes > 1 { span.shift } else { Share::ALL })
}

fn slowest_hop(links: Links<'_>, span: GroupSpan) -> Nanos {
    if span.nodes > 1 { links.inter.latency } else { links.intra.latency }
}

/// What one rank can pass on: its link inside the node, or the share of the node's adapters that the group uses
/// (NCCL builds one ring per adapter, so all of the group's ranks on a node carry traffic between nodes).
fn ring_bandwidth(links: Links<'_>, span: GroupSpan) -> BytesPerSec {
    let local = span.ranks.div_ceil(span.nodes.max(1));
    let reached = match links.intra.layout {
        LinkLayout::Switch => short_ring(local),
        LinkLayout::CubeMesh => ring_share(local),
    };
    let intra = links.intra.effective_bandwidth().0 * reached;
    let inter = links.inter.effective_bandwidth().0 * f64::from(span.ranks_per_node) * span.ring.factor();
    BytesPerSec(match (span.nodes > 1, span.ranks_per_node > 1 || span.ranks > span.nodes) {
        (false, _) => intra,
        (true, true) => intra.min(inter),
        (true, false) => inter,
    })
}

/// The time of a message from one rank to another over the share of a link that the network lets through:
/// `α + bytes / β`.
pub fn transfer_time(link: &Link, bytes: Bytes, share: Share) -> Nanos {
    link.latency + bytes / BytesPerSec(link.effective_bandwidth().0 * share.factor())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    fn a100() -> Cluster {
        Scenario::preset("gpt3-175b-1024xa100").expect("a preset").cluster().clone()
    }

    fn span(cluster: &Cluster, ranks: impl Iterator<Item = u32>) -> GroupSpan {
        GroupSpan::of(cluster, &ranks.map(RankId).collect::<Vec<_>>())
    }

    #[test]
    fn a_large_all_reduce_reaches_the_measured_bus_bandwidth() {
        // NCCL on 8 × A100, 16 GiB: busbw 234.9 GB/s (collectives table, ml-engineering).
        let cluster = a100();
        let bytes = Bytes(1 << 34);
        let (time, algorithm) = collective_time(&cluster, span(&cluster, 0..8), SUM, bytes);
        let busbw = bytes.as_f64() * 2.0 * 7.0 / 8.0 / time.secs() / 1e9;
        assert!((busbw / 234.9 - 1.0).abs() < 0.01, "{busbw} GB/s");
        assert_eq!(algorithm, Algorithm::Ring);
    }

    #[test]
    fn small_messages_go_by_tree_and_one_rank_needs_no_time() {
        let cluster = a100();
        let (_, algorithm) = collective_time(&cluster, span(&cluster, 0..8), SUM, Bytes(8));
        assert_eq!(algorithm, Algorithm::Tree);
        assert_eq!(collective_time(&cluster, span(&cluster, 0..1), SUM, Bytes(1 << 30)).0, Nanos::ZERO);
    }

    #[test]
    fn ranks_of_one_node_share_its_adapters() {
        let cluster = a100();
        let (whole_nodes, one_each) = (span(&cluster, 0..16), span(&cluster, [0, 8].into_iter()));
        assert_eq!((whole_nodes.nodes, whole_nodes.ranks_per_node), (2, 8));
        assert!(ring_bandwidth(cluster.links(1), whole_nodes).0 > 7.0 * ring_bandwidth(cluster.links(1), one_each).0);
    }
}
