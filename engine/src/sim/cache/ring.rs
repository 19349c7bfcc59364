//! Consistent hashing: which nodes keep an object (Karger et al., STOC 1997).

use super::ObjectId;
use super::sketch::mixed;

/// Points of a node on the ring: with more of them shares are more even.
const POINTS: u32 = 128;

/// Points of nodes on a ring of numbers. An object belongs to the nodes whose points follow its own.
#[derive(Debug)]
pub struct Ring {
    /// Points and their nodes, in order.
    points: Vec<(u64, u16)>,
    nodes: usize,
}

impl Ring {
    /// With so many nodes.
    pub fn new(nodes: u32) -> Self {
        let nodes = u16::try_from(nodes).unwrap_or(u16::MAX);
        let of_node =
            |node: u16| (0..POINTS).map(move |point| (mixed((u64::from(node) << 32) | u64::from(point)), node));
        let mut points: Vec<(u64, u16)> = (0..nodes).flat_map(of_node).collect();
        points.sort_unstable();
        Self { points, nodes: usize::from(nodes) }
    }

    /// Takes a node away, unless it is the last: its objects belong to those behind it, all others stay where they are.
    pub fn remove(&mut self, node: u16) {
        if self.nodes > 1 {
            self.points.retain(|&(_, of)| of != node);
            self.nodes -= 1;
        }
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// Of every object the first `count` different nodes behind its point, at most as many as there are nodes.
    pub fn owners(&self, objects: usize, count: usize) -> Vec<u16> {
        let mut owners = Vec::with_capacity(objects * count);
        for object in (0..).map(ObjectId).take(objects) {
            let first = owners.len();
            for node in self.behind(object) {
                if !owners[first..].contains(&node) {
                    owners.push(node);
                }
                if owners.len() == first + count {
                    break;
                }
            }
        }
        owners
    }

    /// Nodes of the points behind an object's, around the ring.
    fn behind(&self, object: ObjectId) -> impl Iterator<Item = u16> + '_ {
        // Another stream of numbers than that of the points.
        let place = mixed(u64::from(object.0) ^ (0x0b1e_c7ed << 32));
        let (before, behind) = self.points.split_at(self.points.partition_point(|&(point, _)| point < place));
        behind.iter().chain(before).map(|&(_, node)| node)
    }
}
