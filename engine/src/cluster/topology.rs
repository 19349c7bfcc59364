//! The cluster as a graph of devices, switches and links, for views that draw it and for routes.

use petgraph::algo::astar;
use petgraph::graph::{NodeIndex, UnGraph};

use super::{Cluster, Link, RankId};

/// A vertex of the cluster's graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterNode {
    /// An accelerator, with the rank that runs on it.
    Device(RankId),
    /// The switch inside a node.
    NodeSwitch(u32),
    /// The network between nodes, taken to be non-blocking.
    Network,
}

/// Devices and switches joined by links.
#[derive(Clone, Debug)]
pub struct Topology {
    /// The graph itself.
    pub graph: UnGraph<ClusterNode, Link>,
    devices: Vec<NodeIndex>,
}

impl Topology {
    /// Builds the graph of `cluster`; its size is linear in the number of devices.
    pub fn of(cluster: &Cluster) -> Self {
        let mut graph = UnGraph::new_undirected();
        let network = (cluster.nodes > 1).then(|| graph.add_node(ClusterNode::Network));
        let mut devices = Vec::with_capacity(cluster.devices() as usize);
        for node in 0..cluster.nodes {
            let switch = graph.add_node(ClusterNode::NodeSwitch(node));
            for local in 0..cluster.devices_per_node {
                let rank = RankId(node * cluster.devices_per_node + local);
                let device = graph.add_node(ClusterNode::Device(rank));
                graph.add_edge(device, switch, cluster.intra_link.clone());
                if let Some(network) = network {
                    graph.add_edge(device, network, cluster.inter_link.clone());
                }
                devices.push(device);
            }
        }
        Self { graph, devices }
    }

    /// The vertices that a message from `a` to `b` passes, both ends included; `None` for ranks beyond the cluster.
    /// Inside a node it stays inside: the switch is preferred to the network.
    pub fn route(&self, a: RankId, b: RankId) -> Option<Vec<ClusterNode>> {
        let (from, to) = (*self.devices.get(a.0 as usize)?, *self.devices.get(b.0 as usize)?);
        let inverse_rate = |link: &Link| 1.0 / link.bandwidth.0.max(f64::MIN_POSITIVE);
        let (_, path) = astar(&self.graph, from, |n| n == to, |edge| inverse_rate(edge.weight()), |_| 0.0)?;
        Some(path.into_iter().map(|n| self.graph[n]).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn routes_cross_the_link_that_the_cost_model_charges() {
        let cluster = Scenario::preset("gpt3-175b-1024xa100").expect("a preset").cluster().clone();
        let topology = Topology::of(&cluster);
        for (a, b) in [(0, 1), (0, 7), (0, 8), (5, 1023)] {
            let (a, b) = (RankId(a), RankId(b));
            let route = topology.route(a, b).expect("all devices are connected");
            let crosses_network = route.contains(&ClusterNode::Network);
            let charged = if crosses_network { &cluster.inter_link } else { &cluster.intra_link };
            assert_eq!(cluster.link_between(a, b), charged, "{a:?} to {b:?} by {route:?}");
        }
    }
}
