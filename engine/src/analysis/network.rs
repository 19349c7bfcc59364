//! What a step sends where: traffic by mesh axis, what links carry of what they could, collectives and what of them is
//! exposed.

use std::collections::BTreeMap;

use serde::Serialize;

use super::communication_by_class;
use crate::cluster::{ClusterLink, ClusterNode, Group, Network, Pattern, RankId, Topology};
use crate::cost::communicated_bytes;
use crate::graph::{Direction, OpKind, StepGraph};
use crate::scenario::Scenario;
use crate::sim::{neighbours, pattern};
use crate::trace::{Origin, Stream, Trace, Traffic};
use crate::units::{Bytes, BytesPerSec, Nanos};

/// Rows of the traffic matrix, at most; of larger clusters neighbours share a row.
const ROWS: u32 = 64;
/// Links that are listed.
const LISTED: usize = 16;

/// What an axis of the mesh sends in a step, over all ranks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct AxisTraffic {
    /// The axis: `tp`, `cp`, `ep`, `dp`, `pp`, `embedding` or `model`.
    pub axis: &'static str,
    /// Between devices of a node.
    pub inside: Bytes,
    /// Between nodes.
    pub between: Bytes,
}

/// What one row of the matrix sends to another in a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TrafficCell {
    /// The axis.
    pub axis: &'static str,
    /// The row that sends.
    pub from: u32,
    /// The row that receives.
    pub to: u32,
    /// In a step.
    pub bytes: Bytes,
}

/// A kind of link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// Between a device and the switch of its node.
    Inside,
    /// A device's adapter.
    Adapter,
    /// Between switches of the network.
    Fabric,
}

impl LinkKind {
    /// Its key.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inside => "inside",
            Self::Adapter => "adapter",
            Self::Fabric => "fabric",
        }
    }
}

/// What a link carries in one direction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LinkUse {
    /// From where to where.
    pub name: String,
    /// What it joins.
    pub kind: LinkKind,
    /// In a step.
    pub bytes: Bytes,
    /// What it could carry.
    pub capacity: BytesPerSec,
    /// The share of the step in which it would be busy at its full rate.
    pub share: f64,
}

/// How busy the links of a row of the matrix are, the busiest of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct NodeUse {
    /// Inside its nodes.
    pub inside: f64,
    /// Its adapters.
    pub adapter: f64,
}

/// What a class of collectives takes on the critical group of ranks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CollectiveUse {
    /// On which stream.
    pub stream: Stream,
    /// Which: `all_reduce`, `all_gather`, …
    pub class: &'static str,
    /// How many in a step.
    pub count: u64,
    /// Bytes that a rank sends for them.
    pub bytes: Bytes,
    /// Their durations added up.
    pub time: Nanos,
    /// Of it while nothing is computed.
    pub exposed: Nanos,
}

/// What a step sends where.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NetworkReport {
    /// Modelled, or counted in an execution, which knows neither nodes nor links: its ranks share a device.
    pub origin: Origin,
    /// What a row of the matrix is: `device`, `node`, or `nodes`, several of them; `rank` of an execution.
    pub unit: &'static str,
    /// Devices of a row.
    pub per_row: u32,
    /// Rows of the matrix.
    pub rows: u32,
    /// By axis.
    pub axes: Vec<AxisTraffic>,
    /// Cells that are not empty, by axis, sender and receiver.
    pub matrix: Vec<TrafficCell>,
    /// How busy each row's links are.
    pub nodes: Vec<NodeUse>,
    /// How busy the links of the fabric are: the busiest, where messages are routed over any.
    pub fabric: Option<f64>,
    /// The busiest links.
    pub links: Vec<LinkUse>,
    /// Collectives of the critical group of ranks, those first of which most is exposed.
    pub collectives: Vec<CollectiveUse>,
}

/// What a stage's ranks send in a step: by whom and how.
type Sent = BTreeMap<(u32, Way), f64>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// In a group, in a pattern.
    Group(Group, Pattern),
    /// To the next stage, or the one before.
    Stage(bool),
}

impl Way {
    fn axis(self) -> &'static str {
        match self {
            Self::Group(group, _) => group.axis(),
            Self::Stage(_) => "pp",
        }
    }
}

/// Finds what a simulated step sends. `critical_group` is the group of ranks whose collectives are listed.
pub fn network(step: &StepGraph, scenario: &Scenario, trace: &Trace, critical_group: u32) -> NetworkReport {
    let cluster = scenario.cluster();
    let flat = || Topology::new(&Network::NonBlocking, cluster.nodes, cluster.devices_per_node);
    let topology = cluster.topology.as_ref().map_or_else(flat, |topology| topology.as_ref().clone());
    let (per_row, unit) = rows_of(cluster.nodes, cluster.devices_per_node);
    let mut tally = Tally {
        topology: &topology,
        per_row,
        per_node: cluster.devices_per_node,
        axes: BTreeMap::new(),
        matrix: BTreeMap::new(),
        links: BTreeMap::new(),
    };
    tally.play(step, scenario, &sent(step, scenario));
    let rows = cluster.devices().div_ceil(per_row);
    let links = tally.links_used(scenario, trace.step_time);
    let mut nodes = vec![NodeUse::default(); rows as usize];
    for (link, row) in &links {
        let Some(node) = row.and_then(|row| nodes.get_mut(row as usize)) else { continue };
        let of_kind = if link.kind == LinkKind::Inside { &mut node.inside } else { &mut node.adapter };
        *of_kind = of_kind.max(link.share);
    }
    let fabric = links.iter().filter(|(link, _)| link.kind == LinkKind::Fabric).map(|(link, _)| link.share);
    NetworkReport {
        origin: Origin::Modelled,
        unit,
        per_row,
        rows,
        axes: tally
            .axes
            .into_iter()
            .map(|(axis, [inside, between])| AxisTraffic { axis, inside: whole(inside), between: whole(between) })
            .collect(),
        matrix: tally
            .matrix
            .into_iter()
            .map(|((axis, from, to), bytes)| TrafficCell { axis, from, to, bytes: whole(bytes) })
            .collect(),
        fabric: fabric.max_by(f64::total_cmp),
        nodes,
        links: links.into_iter().map(|(link, _)| link).take(LISTED).collect(),
        collectives: collectives(trace, critical_group),
    }
}

/// What an executed step has sent from rank to rank, as its trace has counted it; `group` is the group of ranks whose
/// collectives are listed.
pub fn executed_network(trace: &Trace, group: u32) -> NetworkReport {
    let mut axes: BTreeMap<&'static str, Bytes> = BTreeMap::new();
    for sent in &trace.traffic {
        *axes.entry(sent.axis).or_default() += sent.bytes;
    }
    let cell = |&Traffic { axis, from, to, bytes }: &Traffic| TrafficCell { axis, from, to, bytes };
    NetworkReport {
        origin: trace.origin,
        unit: "rank",
        per_row: 1,
        rows: trace.tracks.iter().map(|track| track.rank + 1).max().unwrap_or(0),
        axes: axes.into_iter().map(|(axis, inside)| AxisTraffic { axis, inside, between: Bytes::ZERO }).collect(),
        matrix: trace.traffic.iter().map(cell).collect(),
        nodes: Vec::new(),
        fabric: None,
        links: Vec::new(),
        collectives: collectives(trace, group),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes of a step")]
fn whole(bytes: f64) -> Bytes {
    Bytes(bytes.round() as u64)
}

/// Devices of a row of the matrix, and what it is called.
fn rows_of(nodes: u32, per_node: u32) -> (u32, &'static str) {
    if nodes.saturating_mul(per_node) <= ROWS.min(per_node.max(16)) {
        return (1, "device");
    }
    let nodes_of_row = nodes.div_ceil(ROWS);
    (nodes_of_row * per_node, if nodes_of_row == 1 { "node" } else { "nodes" })
}

fn sent(step: &StepGraph, scenario: &Scenario) -> Sent {
    let (mut sent, all_reduce) = (Sent::new(), scenario.cluster().all_reduce);
    for (number, stage) in (0..).zip(&step.stages) {
        for op in stage.tasks.iter().flat_map(|&task| stage.segment(task).ops()) {
            let way = match op.kind {
                OpKind::Collective { group, .. } => Way::Group(group, pattern(op, all_reduce)),
                OpKind::Send(transfer) => Way::Stage(transfer.direction == Direction::Next),
                _ => continue,
            };
            let bytes = communicated_bytes(step, op).unwrap_or_default().as_f64();
            *sent.entry((number, way)).or_default() += bytes;
        }
    }
    sent
}

/// What is added up.
struct Tally<'a> {
    topology: &'a Topology,
    per_row: u32,
    per_node: u32,
    /// Inside nodes and between them.
    axes: BTreeMap<&'static str, [f64; 2]>,
    matrix: BTreeMap<(&'static str, u32, u32), f64>,
    links: BTreeMap<usize, f64>,
}

impl Tally<'_> {
    /// Every group and every neighbour sends once what its stage sends.
    fn play(&mut self, step: &StepGraph, scenario: &Scenario, sent: &Sent) {
        let (mesh, cluster) = (step.mesh, scenario.cluster());
        for (&(stage, way), &bytes) in sent {
            let mut seen = vec![false; mesh.ranks() as usize];
            for rank in (0..mesh.ranks()).map(RankId).filter(|&rank| mesh.coordinates(rank).pp == stage) {
                match way {
                    // Each group once, by the first of its members in this stage.
                    Way::Group(..) if seen[rank.0 as usize] => {}
                    Way::Group(group, pattern) => {
                        let members = mesh.members(group, rank);
                        let mut stages = std::collections::BTreeSet::new();
                        for member in &members {
                            seen[member.0 as usize] = true;
                            stages.insert(mesh.coordinates(*member).pp);
                        }
                        // One that spans stages was counted on each.
                        let share = bytes / stages.len() as f64;
                        let topology = self.topology;
                        topology.each_message(pattern, &cluster.slots_of(&members), &mut |from, to, part| {
                            self.add(way.axis(), from, to, share * part);
                        });
                    }
                    Way::Stage(next) => {
                        let Some(to) = neighbours(mesh, rank)[usize::from(next)] else { continue };
                        self.add("pp", cluster.slot_of(rank), cluster.slot_of(to), bytes);
                    }
                }
            }
        }
    }

    fn add(&mut self, axis: &'static str, from: u32, to: u32, bytes: f64) {
        if from == to || bytes <= 0.0 {
            return;
        }
        let between = from / self.per_node != to / self.per_node;
        self.axes.entry(axis).or_default()[usize::from(between)] += bytes;
        *self.matrix.entry((axis, from / self.per_row, to / self.per_row)).or_default() += bytes;
        for edge in self.topology.route(from, to) {
            *self.links.entry(edge.index()).or_default() += bytes;
        }
    }

    /// All links that carry something with the row that they belong to, the busiest first.
    fn links_used(&self, scenario: &Scenario, step_time: Nanos) -> Vec<(LinkUse, Option<u32>)> {
        let (graph, cluster) = (&self.topology.graph, scenario.cluster());
        let mut links: Vec<_> = self
            .links
            .iter()
            .filter_map(|(&index, &bytes)| {
                let edge = petgraph::graph::EdgeIndex::new(index);
                let (from, to) = graph.edge_endpoints(edge)?;
                let capacity = cluster.link_capacity(self.topology, edge);
                let kind = match graph[edge] {
                    ClusterLink::Inside => LinkKind::Inside,
                    ClusterLink::Adapter => LinkKind::Adapter,
                    ClusterLink::Fabric(_) => LinkKind::Fabric,
                };
                let share = bytes / capacity.0.max(1.0) / step_time.secs().max(1e-12);
                let name = format!("{} → {}", self.end(graph[from]), self.end(graph[to]));
                let row = [graph[from], graph[to]].into_iter().find_map(|end| match end {
                    ClusterNode::Device(slot) => Some(slot / self.per_row),
                    _ => None,
                });
                Some((LinkUse { name, kind, bytes: whole(bytes), capacity, share }, row))
            })
            .collect();
        links.sort_by(|(a, _), (b, _)| b.share.total_cmp(&a.share));
        links
    }

    fn end(&self, node: ClusterNode) -> String {
        match node {
            ClusterNode::Device(slot) => format!("device {}.{}", slot / self.per_node, slot % self.per_node),
            ClusterNode::NodeSwitch(node) => format!("node {node}"),
            ClusterNode::Leaf(leaf) => format!("switch {leaf}"),
            ClusterNode::Spine => "spine".to_owned(),
        }
    }
}

fn collectives(trace: &Trace, group: u32) -> Vec<CollectiveUse> {
    let times = communication_by_class(trace, group);
    let mut sums: BTreeMap<(Stream, &'static str), (u64, u64)> = BTreeMap::new();
    for span in trace.spans.iter().filter(|span| trace.track(span).group == group) {
        let (track, label) = (trace.track(span), trace.label(span));
        if track.stream.is_communication() {
            let sum = sums.entry((track.stream, label.class)).or_default();
            *sum = (sum.0 + 1, sum.1 + label.bytes);
        }
    }
    let uses = times.into_iter().map(|((stream, class), [time, exposed])| {
        let (count, bytes) = sums.get(&(stream, class)).copied().unwrap_or_default();
        CollectiveUse { stream, class, count, bytes: Bytes(bytes), time, exposed }
    });
    let mut uses: Vec<CollectiveUse> = uses.collect();
    uses.sort_by_key(|of| (std::cmp::Reverse(of.exposed), std::cmp::Reverse(of.time)));
    uses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::bytes_moved;
    use crate::graph::lower;
    use crate::sim::simulate;

    fn of(preset: &str) -> (NetworkReport, BTreeMap<&'static str, Bytes>) {
        let scenario = Scenario::preset(preset).expect("a preset");
        let step = lower(&scenario);
        (network(&step, &scenario, &simulate(&step, &scenario), 0), bytes_moved(&step))
    }

    #[test]
    fn what_is_sent_inside_a_node_is_what_an_execution_moves() {
        let (report, moved) = of("llama2-7b-8xh100");
        assert_eq!((report.unit, report.rows), ("device", 8));
        for axis in report.axes.iter().filter(|axis| axis.axis != "model") {
            let expected = moved[axis.axis].as_f64();
            assert_eq!(axis.between, Bytes::ZERO);
            assert!((axis.inside.as_f64() / expected - 1.0).abs() < 0.01, "{axis:?}, expected {expected}");
        }
        let cells: u64 = report.matrix.iter().map(|cell| cell.bytes.0).sum();
        let axes: u64 = report.axes.iter().map(|axis| axis.inside.0 + axis.between.0).sum();
        assert!((cells as f64 / axes as f64 - 1.0).abs() < 1e-6);
        assert!(report.links.iter().all(|link| link.share > 0.0 && link.share <= 1.0), "{:?}", report.links);
    }

    /// A ring sends as much from every rank, wherever its neighbour is.
    #[test]
    fn what_an_axis_sends_is_what_its_ranks_send_over_all_nodes() {
        let scenario = Scenario::preset("llama3-8b-16xh100").expect("a preset");
        let step = lower(&scenario);
        let report = network(&step, &scenario, &simulate(&step, &scenario), 0);
        for (axis, bytes) in bytes_moved(&step).into_iter().filter(|(axis, _)| *axis != "model") {
            let of_axis = report.axes.iter().find(|of| of.axis == axis).expect("it is there");
            let sum = (of_axis.inside + of_axis.between).as_f64();
            assert!((sum / bytes.as_f64() - 1.0).abs() < 1e-3, "{axis}: {sum} of {bytes:?}");
        }
    }

    #[test]
    fn large_clusters_have_rows_of_nodes_and_adapters_that_carry() {
        let (report, _) = of("llama3-70b-leaf-spine-64xh100");
        assert_eq!((report.unit, report.rows), ("node", 8));
        assert!(report.fabric.is_some_and(|share| share > 0.0));
        assert!(report.axes.iter().any(|axis| axis.between > Bytes::ZERO));
        assert!(report.collectives.iter().any(|of| of.exposed > Nanos::ZERO));
        let (report, _) = of("gpt3-175b-1024xa100");
        assert_eq!((report.unit, report.rows), ("nodes", 64));
    }
}
