//! What a process holds on its device beside the tensors of the step: the runtime's context and the buffers of
//! communicators.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::cluster::{Group, RankId};
use crate::cost::{GroupSpan, collective_buffers, exchange_buffers, neighbour_buffers};
use crate::graph::{Collective, OpKind, Segment, StepGraph};
use crate::scenario::Scenario;
use crate::units::Bytes;

/// What is on a device beside tensors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Beside {
    /// The runtime's context and the code of loaded kernels.
    pub context: Bytes,
    /// The buffers of all communicators that the step uses.
    pub communicators: Bytes,
}

impl Beside {
    /// All of it.
    pub fn total(self) -> Bytes {
        self.context + self.communicators
    }
}

/// What the first rank of `stage` holds. Groups of the same ranks share a communicator.
pub fn beside_tensors(step: &StepGraph, scenario: &Scenario, stage: u32) -> Beside {
    let Some(program) = step.stages.get(stage as usize) else { return Beside::default() };
    let cluster = scenario.cluster();
    let rank = RankId(stage * step.mesh.per_stage());
    let mut groups: BTreeSet<(Group, bool)> = BTreeSet::new();
    let (mut seen, mut communicators) = (BTreeSet::new(), Bytes::ZERO);
    for op in program.segments.iter().flat_map(Segment::ops) {
        if let OpKind::Collective { collective, group } = op.kind {
            groups.insert((group, exchanges(collective)));
        }
    }
    for (group, exchanges) in groups {
        let members = step.mesh.members(group, rank);
        let span = GroupSpan::of(cluster, &members);
        if seen.insert((members, exchanges)) {
            communicators +=
                if exchanges { exchange_buffers(cluster, span) } else { collective_buffers(cluster, span) };
        }
    }
    if step.transfers > 0 {
        let ranks = step.mesh.ranks();
        let around = [ranks - step.mesh.per_stage(), step.mesh.per_stage()].map(|by| RankId((rank.0 + by) % ranks));
        for neighbour in BTreeSet::from(around) {
            communicators += neighbour_buffers(cluster, cluster.node_of(neighbour) == cluster.node_of(rank));
        }
    }
    Beside { context: cluster.device_of(rank).context, communicators }
}

/// Whether every rank sends to others than its neighbours.
fn exchanges(collective: Collective) -> bool {
    matches!(collective, Collective::AllToAll | Collective::AllToAllOnce { .. })
}
