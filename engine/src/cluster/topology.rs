//! The cluster as a graph of devices, switches and links, with the routes that messages take and what they load.
//!
//! Capacities are in multiples of a device's own link: inside a node of its link there, beyond of its adapter. So the
//! graph stays as it is when rates change.

use std::collections::BTreeMap;

use petgraph::graph::{DiGraph, EdgeIndex, NodeIndex};
use rustc_hash::FxHashMap;

use super::{Network, RankId};
use crate::units::BytesPerSec;

/// A vertex of the cluster's graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterNode {
    /// An accelerator, by its number through all nodes.
    Device(u32),
    /// The switch inside a node.
    NodeSwitch(u32),
    /// A switch to which adapters are joined: a leaf, a rail, a torus' router, a dragonfly's group.
    Leaf(u32),
    /// What joins the leaves.
    Spine,
}

/// A link in one direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ClusterLink {
    /// Between a device and the switch of its node.
    Inside,
    /// A device's adapter.
    Adapter,
    /// Between switches, as many adapters wide.
    Fabric(f64),
}

impl ClusterLink {
    /// How many messages of full rate it carries.
    pub fn width(self) -> f64 {
        match self {
            Self::Inside | Self::Adapter => 1.0,
            Self::Fabric(width) => width,
        }
    }
}

/// The ways in which the ranks of a group send at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pattern {
    /// Around the group; between nodes over all adapters that the group has on each.
    Ring,
    /// Every rank to every other.
    AllToAll,
    /// Every rank to the next, over its own adapter.
    Shift,
}

/// Peers of a rank that are routed one by one.
const MOST_PEERS: usize = 256;

/// What a link carries of a message, for every byte that a rank sends.
pub type Loads = BTreeMap<EdgeIndex, f64>;

/// Devices and switches joined by links.
#[derive(Clone, Debug)]
pub struct Topology {
    /// The graph itself.
    pub graph: DiGraph<ClusterNode, ClusterLink>,
    network: Network,
    nodes: u32,
    per_node: u32,
    /// From each device to the switch of its node, and back.
    inside: Vec<[EdgeIndex; 2]>,
    /// From each device to the network, and back.
    adapters: Vec<[EdgeIndex; 2]>,
    /// From each leaf to the spine, and back.
    spine: Vec<[EdgeIndex; 2]>,
    /// From leaf to leaf.
    between: FxHashMap<(u32, u32), EdgeIndex>,
}

impl PartialEq for Topology {
    fn eq(&self, other: &Self) -> bool {
        (&self.network, self.nodes, self.per_node) == (&other.network, other.nodes, other.per_node)
    }
}

impl Topology {
    /// The graph of `nodes` with `per_node` devices each.
    pub fn new(network: &Network, nodes: u32, per_node: u32) -> Self {
        let mut topology = Self {
            graph: DiGraph::new(),
            network: network.clone(),
            nodes,
            per_node,
            inside: Vec::new(),
            adapters: Vec::new(),
            spine: Vec::new(),
            between: FxHashMap::default(),
        };
        let leaves: Vec<NodeIndex> =
            (0..topology.leaves()).map(|leaf| topology.graph.add_node(ClusterNode::Leaf(leaf))).collect();
        for node in 0..nodes {
            topology.add_node(node, &leaves);
        }
        topology.join(&leaves);
        topology
    }

    fn add_node(&mut self, node: u32, leaves: &[NodeIndex]) {
        let switch = self.graph.add_node(ClusterNode::NodeSwitch(node));
        for slot in node * self.per_node..(node + 1) * self.per_node {
            let device = self.graph.add_node(ClusterNode::Device(slot));
            let leaf = leaves[self.leaf_of(slot) as usize];
            let inside = self.both(device, switch, ClusterLink::Inside);
            self.inside.push(inside);
            let adapter = self.both(device, leaf, ClusterLink::Adapter);
            self.adapters.push(adapter);
        }
    }

    fn both(&mut self, a: NodeIndex, b: NodeIndex, link: ClusterLink) -> [EdgeIndex; 2] {
        [self.graph.add_edge(a, b, link), self.graph.add_edge(b, a, link)]
    }

    /// Number of switches to which adapters are joined.
    fn leaves(&self) -> u32 {
        match self.network {
            Network::NonBlocking => 1,
            Network::LeafSpine { nodes, .. } | Network::Dragonfly { nodes, .. } => self.nodes.div_ceil(nodes),
            Network::Rails { nodes, .. } => self.nodes.div_ceil(nodes) * self.per_node,
            Network::Torus { .. } => self.nodes,
        }
    }

    fn leaf_of(&self, slot: u32) -> u32 {
        let node = slot / self.per_node;
        match self.network {
            Network::NonBlocking => 0,
            Network::LeafSpine { nodes, .. } | Network::Dragonfly { nodes, .. } => node / nodes,
            Network::Rails { nodes, .. } => node / nodes * self.per_node + slot % self.per_node,
            Network::Torus { .. } => node,
        }
    }

    /// Joins the leaves: by a spine, around each dimension, or every two.
    fn join(&mut self, leaves: &[NodeIndex]) {
        let per_node = f64::from(self.per_node);
        match self.network.clone() {
            Network::NonBlocking => {}
            Network::LeafSpine { nodes, oversubscription } => {
                self.join_spine(leaves, f64::from(nodes) * per_node / oversubscription);
            }
            Network::Rails { nodes, oversubscription } => self.join_spine(leaves, f64::from(nodes) / oversubscription),
            Network::Torus { dims } => {
                // A node's adapters are spread over its links, two for each dimension.
                let wide = dims.iter().filter(|&&n| n > 1).count();
                let width = per_node / (2 * wide.max(1)) as f64;
                for (node, to) in (0..self.nodes).flat_map(|node| neighbours(node, &dims).map(move |to| (node, to))) {
                    let (from, to_leaf) = (leaves[node as usize], leaves[to as usize]);
                    self.widen(from, to_leaf, (node, to), width);
                }
            }
            Network::Dragonfly { nodes, oversubscription } => {
                let others = (leaves.len().max(2) - 1) as f64;
                let width = f64::from(nodes) * per_node / oversubscription / others;
                for (a, &from) in (0..).zip(leaves) {
                    for (b, &to) in (0..).zip(leaves).filter(|&(b, _)| b != a) {
                        self.widen(from, to, (a, b), width);
                    }
                }
            }
        }
    }

    fn join_spine(&mut self, leaves: &[NodeIndex], width: f64) {
        let spine = self.graph.add_node(ClusterNode::Spine);
        for &leaf in leaves {
            let links = self.both(leaf, spine, ClusterLink::Fabric(width));
            self.spine.push(links);
        }
    }

    /// Joins two leaves; along a dimension of two nodes there are two links.
    fn widen(&mut self, from: NodeIndex, to: NodeIndex, names: (u32, u32), width: f64) {
        match self.between.get(&names) {
            Some(&edge) => self.graph[edge] = ClusterLink::Fabric(self.graph[edge].width() + width),
            None => {
                let edge = self.graph.add_edge(from, to, ClusterLink::Fabric(width));
                self.between.insert(names, edge);
            }
        }
    }

    /// The links that a message passes from one device to another, by their numbers through all nodes.
    pub fn route(&self, from: u32, to: u32) -> Vec<EdgeIndex> {
        let (node, target) = (from / self.per_node, to / self.per_node);
        if node == target {
            return vec![self.inside[from as usize][0], self.inside[to as usize][1]];
        }
        let mut path = Vec::with_capacity(6);
        let mut leaves_by = from;
        if matches!(self.network, Network::Rails { .. }) && from % self.per_node != to % self.per_node {
            // NCCL hands a message to the device of its node that is on the rail of the target (PXN).
            leaves_by = node * self.per_node + to % self.per_node;
            path.extend([self.inside[from as usize][0], self.inside[leaves_by as usize][1]]);
        }
        path.push(self.adapters[leaves_by as usize][0]);
        self.across(self.leaf_of(leaves_by), self.leaf_of(to), &mut path);
        path.push(self.adapters[to as usize][1]);
        path
    }

    fn across(&self, from: u32, to: u32, path: &mut Vec<EdgeIndex>) {
        if from == to {
            return;
        }
        match &self.network {
            Network::NonBlocking => {}
            Network::LeafSpine { .. } | Network::Rails { .. } => {
                path.extend([self.spine[from as usize][0], self.spine[to as usize][1]]);
            }
            Network::Torus { dims } => {
                path.extend(hops(from, to, dims).windows(2).filter_map(|hop| self.between.get(&(hop[0], hop[1]))));
            }
            Network::Dragonfly { .. } => path.extend(self.between.get(&(from, to))),
        }
    }

    /// What a group's links carry for every byte that one of its ranks sends; `slots` are their devices.
    pub fn loads(&self, pattern: Pattern, slots: &[u32]) -> Loads {
        let mut loads = Loads::default();
        self.add_loads(pattern, slots, &mut loads);
        loads
    }

    /// Adds them to others.
    pub fn add_loads(&self, pattern: Pattern, slots: &[u32], loads: &mut Loads) {
        self.each_message(pattern, slots, &mut |from, to, share| {
            for edge in self.route(from, to) {
                *loads.entry(edge).or_default() += share;
            }
        });
    }

    /// Calls `add` for everything that a group's devices send each other: from, to, and how much of it for every byte that
    /// one of its ranks sends.
    pub fn each_message(&self, pattern: Pattern, slots: &[u32], add: &mut impl FnMut(u32, u32, f64)) {
        match pattern {
            Pattern::AllToAll => {
                // Of large groups every so many peers stand for their neighbours.
                let stride = slots.len().div_ceil(MOST_PEERS).max(1);
                let peers = (1..slots.len()).step_by(stride).count().max(1);
                for (place, &from) in slots.iter().enumerate() {
                    let others = (1..slots.len()).step_by(stride).map(|ahead| slots[(place + ahead) % slots.len()]);
                    others.for_each(|to| add(from, to, 1.0 / peers as f64));
                }
            }
            Pattern::Shift => pairs(slots).for_each(|(from, to)| add(from, to, 1.0)),
            Pattern::Ring => self.ring(slots, add),
        }
    }

    /// Inside a node every rank passes on to the next what the ring's lanes do not send out there: of as many rings as there are
    /// ranks each leaves by another one, so the node's ranks send all but one part of theirs to each other. Between nodes each
    /// adapter carries its share.
    fn ring(&self, slots: &[u32], add: &mut impl FnMut(u32, u32, f64)) {
        let mut sorted = slots.to_vec();
        sorted.sort_unstable();
        let nodes: Vec<&[u32]> = sorted.chunk_by(|a, b| a / self.per_node == b / self.per_node).collect();
        for of_node in &nodes {
            let kept = if nodes.len() > 1 { 1.0 - 1.0 / of_node.len() as f64 } else { 1.0 };
            pairs(of_node).for_each(|(from, to)| add(from, to, kept));
        }
        for (a, b) in pairs(&nodes) {
            let lanes = a.len().min(b.len());
            a.iter().zip(b).for_each(|(&from, &to)| add(from, to, 1.0 / lanes as f64));
        }
    }

    /// Of what adapters alone would allow, the share that the network between them lets through to a group.
    pub fn share(&self, pattern: Pattern, slots: &[u32]) -> Share {
        if self.network == Network::NonBlocking {
            return Share::ALL;
        }
        let (mut adapter, mut fabric) = (0.0_f64, 0.0_f64);
        for (&edge, &load) in &self.loads(pattern, slots) {
            match self.graph[edge] {
                ClusterLink::Inside => {}
                ClusterLink::Adapter => adapter = adapter.max(load),
                ClusterLink::Fabric(width) => fabric = fabric.max(load / width),
            }
        }
        Share::of(if fabric > adapter { adapter / fabric } else { 1.0 })
    }
}

/// A share of a rate in millionths, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u32);

impl Share {
    /// All of it.
    pub const ALL: Self = Self(1_000_000);

    fn of(share: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to a million")]
        Self((share * 1e6).round().clamp(1.0, 1e6) as u32)
    }

    /// As a factor.
    pub fn factor(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

/// Everything with what follows it, around; nothing where there is only one.
fn pairs<T: Copy>(list: &[T]) -> impl Iterator<Item = (T, T)> {
    let next = list.iter().cycle().skip(1);
    list.iter().zip(next).take(if list.len() > 1 { list.len() } else { 0 }).map(|(&a, &b)| (a, b))
}

/// A node's place along every dimension.
fn place(node: u32, dims: &[u32]) -> Vec<u32> {
    let mut rest = node;
    let mut along = |&n: &u32| {
        let at = rest % n;
        rest /= n;
        at
    };
    dims.iter().map(&mut along).collect()
}

fn node_at(place: &[u32], dims: &[u32]) -> u32 {
    place.iter().zip(dims).rev().fold(0, |node, (&at, &n)| node * n + at)
}

/// Both neighbours along every dimension of more than one node.
fn neighbours(node: u32, dims: &[u32]) -> impl Iterator<Item = u32> {
    let (at, dims) = (place(node, dims), dims.to_vec());
    (0..dims.len()).filter(|&dim| dims[dim] > 1).collect::<Vec<_>>().into_iter().flat_map(move |dim| {
        [1, dims[dim] - 1].map(|step| {
            let mut to = at.clone();
            to[dim] = (to[dim] + step) % dims[dim];
            node_at(&to, &dims)
        })
    })
}

/// The nodes from one to another, dimension by dimension, each the shorter way around.
fn hops(from: u32, to: u32, dims: &[u32]) -> Vec<u32> {
    let (mut at, goal) = (place(from, dims), place(to, dims));
    let mut path = vec![from];
    for dim in 0..dims.len() {
        let n = dims[dim];
        let ahead = (goal[dim] + n - at[dim]) % n;
        let (steps, step) = if 2 * ahead <= n { (ahead, 1) } else { (n - ahead, n - 1) };
        for _ in 0..steps {
            at[dim] = (at[dim] + step) % n;
            path.push(node_at(&at, dims));
        }
    }
    path
}

impl super::Cluster {
    /// What a link of the cluster's graph carries; those of a device that is an exception are its own.
    pub fn link_capacity(&self, topology: &Topology, edge: EdgeIndex) -> BytesPerSec {
        let ends = topology.graph.edge_endpoints(edge);
        let device = ends.and_then(|(from, to)| {
            [from, to].into_iter().find_map(|end| match topology.graph[end] {
                ClusterNode::Device(slot) => Some(slot),
                _ => None,
            })
        });
        let links = self.links(1 << device.map_or(0, |slot| self.kind_of_slot(slot)));
        match topology.graph[edge] {
            ClusterLink::Inside => links.intra.effective_bandwidth(),
            link => BytesPerSec(links.inter.effective_bandwidth().0 * link.width()),
        }
    }

    /// The devices of ranks.
    pub fn slots_of(&self, ranks: &[RankId]) -> Vec<u32> {
        ranks.iter().map(|&rank| self.slot_of(rank)).collect()
    }

    /// What the network lets through of a message from one rank to another.
    pub fn path_share(&self, from: RankId, to: RankId) -> Share {
        let Some(topology) = self.topology.as_ref().filter(|_| self.node_of(from) != self.node_of(to)) else {
            return Share::ALL;
        };
        let route = topology.route(self.slot_of(from), self.slot_of(to));
        let narrowest = route.iter().map(|&edge| topology.graph[edge].width()).fold(1.0, f64::min);
        Share::of(narrowest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf_spine() -> Topology {
        Topology::new(&Network::LeafSpine { nodes: 2, oversubscription: 4.0 }, 8, 2)
    }

    fn fabric(topology: &Topology, from: u32, to: u32) -> usize {
        let is_fabric = |edge: &&EdgeIndex| matches!(topology.graph[**edge], ClusterLink::Fabric(_));
        topology.route(from, to).iter().filter(is_fabric).count()
    }

    /// A route's links follow each other from one device to the other.
    fn joined(topology: &Topology, from: u32, to: u32) {
        let ends: Vec<_> =
            topology.route(from, to).iter().filter_map(|&edge| topology.graph.edge_endpoints(edge)).collect();
        assert!(ends.windows(2).all(|pair| pair[0].1 == pair[1].0), "{from} to {to}: {ends:?}");
        let at = |index: NodeIndex| topology.graph[index];
        assert_eq!(at(ends[0].0), ClusterNode::Device(from));
        assert_eq!(at(ends[ends.len() - 1].1), ClusterNode::Device(to));
    }

    #[test]
    fn routes_lead_from_device_to_device() {
        let networks = [
            Network::NonBlocking,
            Network::LeafSpine { nodes: 2, oversubscription: 1.0 },
            Network::Rails { nodes: 3, oversubscription: 2.0 },
            Network::Torus { dims: vec![3, 2, 2] },
            Network::Dragonfly { nodes: 3, oversubscription: 1.0 },
        ];
        for network in networks {
            let topology = Topology::new(&network, 12, 4);
            for (from, to) in (0..48).flat_map(|a| (0..48).filter(move |&b| b != a).map(move |b| (a, b))) {
                joined(&topology, from, to);
            }
        }
    }

    #[test]
    fn a_leaf_is_left_only_for_another() {
        let topology = leaf_spine();
        assert_eq!([(0, 1), (0, 3), (0, 4)].map(|(a, b)| fabric(&topology, a, b)), [0, 0, 2]);
        let rails = Topology::new(&Network::Rails { nodes: 4, oversubscription: 1.0 }, 8, 2);
        // On its rail; by way of the neighbour to the other rail; to another pod.
        assert_eq!([(0, 2), (0, 3), (0, 8)].map(|(a, b)| fabric(&rails, a, b)), [0, 0, 2]);
    }

    #[test]
    fn a_torus_is_crossed_the_shorter_way() {
        assert_eq!(hops(0, 3, &[4, 4]), [0, 3]);
        assert_eq!(hops(0, 10, &[4, 4]), [0, 1, 2, 6, 10]);
        // Three dimensions of four: on average 1 hop in each of them (Dally & Towles 2004, equation 5.3: n/4).
        let mean = (0..64).map(|to| hops(0, to, &[4, 4, 4]).len() - 1).sum::<usize>() as f64 / 64.0;
        assert!((mean - 3.0).abs() < 1e-12, "{mean}");
    }

    #[test]
    fn what_is_oversubscribed_lets_its_share_through() {
        let topology = leaf_spine();
        // A ring over whole nodes crosses each leaf once, over both adapters: 1 byte over a width of 4/4.
        let all: Vec<u32> = (0..16).collect();
        assert_eq!(topology.share(Pattern::Ring, &all).factor(), 0.5);
        assert_eq!(topology.share(Pattern::Ring, &[0, 2]), Share::ALL, "inside a leaf");
        // All to all: of 15 parts 12 leave the leaf of 4 devices: 48/15 over a width of 1, where an adapter carries 14/15.
        let factor = topology.share(Pattern::AllToAll, &all).factor();
        assert!((factor - 14.0 / 16.0 / 3.0).abs() < 1e-6, "{factor}");
    }
}
