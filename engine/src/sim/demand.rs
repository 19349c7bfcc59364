//! What messages load: for every class and kind of group, the links of the cluster's graph.
//!
//! Links that are loaded alike are one **resource**: of thousands a handful are left. Groups of a class send at the same
//! time, so their loads are added; where some of them find a link fuller than others, all keep pace with the slowest.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::graph::EdgeIndex;

use super::Folding;
use super::fold::neighbours;
use super::program::{Action, PricedOp, Programs};
use crate::cluster::{Cluster, Group, Loads, Mesh, Pattern, RankId, Topology};
use crate::graph::{Direction, Transfer};

/// Links that all messages load alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// Bytes per second.
    pub capacity: f64,
}

/// What messages of a kind load.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Demand {
    /// Resources with the bytes on each for every byte that a rank sends.
    pub on: Vec<(u32, f64)>,
    /// Bytes per second that a rank sends at most when no other group does.
    pub alone: f64,
}

/// Who sends.
pub type Sender = (u32, SenderKind);

/// Over what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SenderKind {
    /// The groups of a kind, in a pattern.
    Group(Group, Pattern),
    /// To a neighbouring stage.
    Stage(bool),
}

/// The demands of all classes on the resources of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Demands {
    /// All resources.
    pub resources: Vec<Resource>,
    /// By sender.
    pub of: BTreeMap<Sender, Demand>,
}

/// The sender of an op of a class, if it sends; a group's messages are those of its first class.
pub fn sender(first_class: u32, action: Action, pattern: Pattern) -> Option<Sender> {
    match action {
        Action::Meet(group) => Some((first_class, SenderKind::Group(group, pattern))),
        Action::Send(transfer) => Some((first_class, SenderKind::Stage(transfer.direction == Direction::Next))),
        Action::Run | Action::Receive(_) | Action::Load => None,
    }
}

impl Demands {
    /// The demands of everything that the programs send.
    pub fn of(mesh: Mesh, cluster: &Cluster, folding: &Folding, programs: &Programs) -> Self {
        let Some(topology) = &cluster.topology else { return Self::default() };
        let mut senders: BTreeSet<Sender> = BTreeSet::new();
        for (class, segments) in (0..).zip(&programs.classes) {
            let kinds: BTreeSet<_> = segments.iter().flat_map(|segment| &segment.ops).filter_map(sends).collect();
            for (action, pattern) in kinds {
                senders.extend(sender(first_class(mesh, folding, class, action), action, pattern));
            }
        }
        let loads: Vec<(Sender, Loads, f64)> = senders
            .into_iter()
            .map(|sender| {
                let (loads, alone) = loads(mesh, cluster, topology, folding, sender);
                (sender, loads, alone)
            })
            .collect();
        compress(cluster, topology, &loads)
    }
}

/// How an op sends, if it does; transfers to one neighbour are alike.
fn sends(op: &PricedOp) -> Option<(Action, Pattern)> {
    match op.action {
        Action::Send(transfer) => Some((Action::Send(Transfer { number: 0, ..transfer }), op.pattern)),
        Action::Meet(_) => Some((op.action, op.pattern)),
        Action::Run | Action::Receive(_) | Action::Load => None,
    }
}

/// The first class of the group of `class`, whose messages stand for those of the whole group.
pub fn first_class(mesh: Mesh, folding: &Folding, class: u32, action: Action) -> u32 {
    match action {
        Action::Meet(group) => {
            let classes = folding.group_classes(mesh, group, &folding.classes[class as usize]);
            classes.first().copied().unwrap_or(class)
        }
        _ => class,
    }
}

/// What the messages of all ranks of a class load together, and the rate at which one group sends alone.
fn loads(mesh: Mesh, cluster: &Cluster, topology: &Topology, folding: &Folding, sender: Sender) -> (Loads, f64) {
    let (class, kind) = sender;
    let ranks = (0..).zip(&folding.class_of).filter(|&(_, &of)| of == class).map(|(rank, _)| RankId(rank));
    let (mut all, mut alone) = (Loads::default(), f64::INFINITY);
    let mut seen: BTreeSet<RankId> = BTreeSet::new();
    for rank in ranks {
        let one = match kind {
            SenderKind::Group(group, pattern) => {
                let members = mesh.members(group, rank);
                if !seen.insert(members.first().copied().unwrap_or(rank)) {
                    continue;
                }
                topology.loads(pattern, &cluster.slots_of(&members))
            }
            SenderKind::Stage(next) => {
                let to = neighbours(mesh, rank)[usize::from(next)].unwrap_or(rank);
                let route = topology.route(cluster.slot_of(rank), cluster.slot_of(to));
                route.into_iter().map(|edge| (edge, 1.0)).collect()
            }
        };
        for (&edge, &load) in &one {
            *all.entry(edge).or_default() += load;
            alone = alone.min(cluster.link_capacity(topology, edge).0 / load);
        }
    }
    (all, alone)
}

/// Links that are loaded alike become one resource.
fn compress(cluster: &Cluster, topology: &Topology, loads: &[(Sender, Loads, f64)]) -> Demands {
    let mut by_edge: BTreeMap<EdgeIndex, Vec<(usize, f64)>> = BTreeMap::new();
    for (number, (_, loads, _)) in loads.iter().enumerate() {
        for (&edge, &load) in loads {
            by_edge.entry(edge).or_default().push((number, load));
        }
    }
    // Loads are sums of a few fractions; rounded, what is alike compares equal.
    let rounded = |load: f64| (load * 1e9).round().to_bits();
    let mut distinct: BTreeMap<(u64, Vec<(usize, u64)>), u32> = BTreeMap::new();
    let mut demands = Demands::default();
    demands.of.extend(loads.iter().map(|(sender, _, alone)| (*sender, Demand { on: Vec::new(), alone: *alone })));
    for (edge, on) in by_edge {
        let capacity = cluster.link_capacity(topology, edge).0;
        let key = (capacity.to_bits(), on.iter().map(|&(number, load)| (number, rounded(load))).collect());
        let next = u32::try_from(demands.resources.len()).unwrap_or(u32::MAX);
        if *distinct.entry(key).or_insert(next) < next {
            continue;
        }
        demands.resources.push(Resource { capacity });
        for (number, load) in on {
            if let Some(demand) = demands.of.get_mut(&loads[number].0) {
                demand.on.push((next, load));
            }
        }
    }
    demands
}

/// The rates of messages that are under way together, each a demand with the rate that it has alone: max-min fair
/// (Bertsekas & Gallager 1992, "Data Networks", section 6.5.2). All grow alike until a resource is full or a message has
/// its own rate; those stay, the others grow on.
pub fn fair_rates(resources: &[Resource], active: &[(&Demand, f64)]) -> Vec<f64> {
    let mut rates: Vec<Option<f64>> = vec![None; active.len()];
    let mut left: Vec<f64> = resources.iter().map(|resource| resource.capacity).collect();
    while rates.iter().any(Option::is_none) {
        let growing = || active.iter().enumerate().filter(|(flow, _)| rates[*flow].is_none());
        let mut wanted = vec![0.0; resources.len()];
        for &(resource, load) in growing().flat_map(|(_, (demand, _))| &demand.on) {
            wanted[resource as usize] += load;
        }
        let level = |resource: u32| left[resource as usize].max(0.0) / wanted[resource as usize];
        let reaches = |(demand, own): &(&Demand, f64)| demand.on.iter().map(|&(on, _)| level(on)).fold(*own, f64::min);
        let lowest = growing().map(|(_, flow)| reaches(flow)).fold(f64::INFINITY, f64::min);
        let settled: Vec<usize> =
            growing().filter(|(_, flow)| reaches(flow) <= lowest * (1.0 + 1e-12)).map(|(flow, _)| flow).collect();
        for flow in settled {
            rates[flow] = Some(lowest);
            for &(resource, load) in &active[flow].0.on {
                left[resource as usize] -= load * lowest;
            }
        }
    }
    rates.into_iter().map(Option::unwrap_or_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(on: &[(u32, f64)]) -> Demand {
        Demand { on: on.to_vec(), alone: f64::INFINITY }
    }

    #[test]
    fn rates_are_max_min_fair() {
        // Bertsekas & Gallager, figure 6.8 in short: three share a link of 1, of which one also crosses a link of 3
        // that a fourth has for itself else.
        let resources = [Resource { capacity: 1.0 }, Resource { capacity: 3.0 }];
        let (a, b, c) = (demand(&[(0, 1.0)]), demand(&[(0, 1.0), (1, 1.0)]), demand(&[(1, 1.0)]));
        let third = 1.0 / 3.0;
        let active = [(&a, 9.0), (&a, 9.0), (&b, 9.0), (&c, 9.0)];
        let rates = fair_rates(&resources, &active);
        for (rate, expected) in rates.iter().zip([third, third, third, 3.0 - third]) {
            assert!((rate - expected).abs() < 1e-9, "{rates:?}");
        }
    }

    #[test]
    fn a_message_keeps_its_own_rate_where_it_can() {
        let resources = [Resource { capacity: 10.0 }];
        let a = demand(&[(0, 2.0)]);
        assert_eq!(fair_rates(&resources, &[(&a, 3.0)]), [3.0], "alone");
        assert_eq!(fair_rates(&resources, &[(&a, 1.0), (&a, 9.0)]), [1.0, 4.0], "what one leaves the other takes");
    }
}
