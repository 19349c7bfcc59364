//! Classes of identical ranks.
//!
//! Two ranks are identical when they run the same program, their groups cost the same, and the ranks they
//! communicate with are identical in turn: the coarsest equitable partition, found by refinement. Ranks of a class
//! then do everything at the same time, so one representative stands for all.

use std::collections::BTreeMap;
use std::hash::Hash;

use rustc_hash::FxHashMap;

use crate::cluster::{Cluster, Group, Mesh, RankId};
use crate::cost::GroupSpan;

/// Ranks that do the same at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Their pipeline stage.
    pub stage: u32,
    /// The first of them.
    pub representative: RankId,
    /// How many they are.
    pub ranks: u32,
}

/// A partition of the ranks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folding {
    /// The classes, in the order of their representatives.
    pub classes: Vec<Class>,
    /// The class of each rank.
    pub class_of: Vec<u32>,
}

/// What tells ranks apart: numbers that are equal where what they stand for is. One for each kind of group, and four
/// besides.
type Key = [u32; Group::COUNT + 4];

impl Folding {
    /// Every rank for itself.
    pub fn unfolded(mesh: Mesh) -> Self {
        Self::from_colors(mesh, &(0..mesh.ranks()).collect::<Vec<_>>())
    }

    /// Identical ranks together.
    pub fn classes(mesh: Mesh, cluster: &Cluster) -> Self {
        let groups = Group::ALL.map(|group| Groups::of(mesh, group));
        let mut colors = numbered(signatures(mesh, cluster, &groups).into_iter());
        loop {
            let refined = numbered(seen(mesh, &colors, &groups).into_iter());
            if count(&refined) == count(&colors) {
                return Self::from_colors(mesh, &colors);
            }
            colors = refined;
        }
    }

    fn from_colors(mesh: Mesh, colors: &[u32]) -> Self {
        let mut classes: Vec<Class> = Vec::new();
        let mut class_of_color: BTreeMap<u32, u32> = BTreeMap::new();
        let mut class_of = Vec::with_capacity(colors.len());
        for (rank, &color) in (0..mesh.ranks()).map(RankId).zip(colors) {
            let next = u32::try_from(classes.len()).unwrap_or(u32::MAX);
            let class = *class_of_color.entry(color).or_insert(next);
            if class == next {
                classes.push(Class { stage: mesh.coordinates(rank).pp, representative: rank, ranks: 0 });
            }
            classes[class as usize].ranks += 1;
            class_of.push(class);
        }
        Self { classes, class_of }
    }

    /// The classes of the group of kind `group` of a class's representative, each once, in order.
    pub fn group_classes(&self, mesh: Mesh, group: Group, class: &Class) -> Vec<u32> {
        let members = mesh.members(group, class.representative);
        let mut classes: Vec<u32> = members.iter().map(|rank| self.class_of[rank.0 as usize]).collect();
        classes.sort_unstable();
        classes.dedup();
        classes
    }
}

/// All groups of a kind, each once.
struct Groups {
    kind: Group,
    members: Vec<Vec<RankId>>,
    /// The number of every rank's group.
    of_rank: Vec<u32>,
}

impl Groups {
    fn of(mesh: Mesh, kind: Group) -> Self {
        const NONE: u32 = u32::MAX;
        let mut groups = Self { kind, members: Vec::new(), of_rank: vec![NONE; mesh.ranks() as usize] };
        for rank in (0..mesh.ranks()).map(RankId) {
            if groups.of_rank[rank.0 as usize] != NONE {
                continue;
            }
            let members = mesh.members(kind, rank);
            // A middle stage is no member of its tied-embedding group; it sees that group like its first stage.
            let known = members.first().map_or(NONE, |first| groups.of_rank[first.0 as usize]);
            if known == NONE {
                let number = u32::try_from(groups.members.len()).unwrap_or(NONE);
                members.iter().chain([&rank]).for_each(|member| groups.of_rank[member.0 as usize] = number);
                groups.members.push(members);
            } else {
                groups.of_rank[rank.0 as usize] = known;
            }
        }
        groups
    }

    /// For every rank the number of a property of its group.
    fn numbered<K: Hash + Eq>(&self, property: impl Fn(&[RankId]) -> K) -> Vec<u32> {
        let of_group = numbered(self.members.iter().map(|members| property(members)));
        self.of_rank.iter().map(|&group| of_group[group as usize]).collect()
    }
}

/// Numbers things by when they are first seen, equal ones alike.
fn numbered<K: Hash + Eq>(things: impl Iterator<Item = K>) -> Vec<u32> {
    let mut numbers: FxHashMap<K, u32> = FxHashMap::default();
    let number = |thing| {
        let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        *numbers.entry(thing).or_insert(next)
    };
    things.map(number).collect()
}

/// What makes ranks different before looking at their neighbours: stage, kind of device, the spans of their groups, and
/// for both neighbours what the network lets through to them where it must be crossed.
fn signatures(mesh: Mesh, cluster: &Cluster, groups: &[Groups; Group::COUNT]) -> Vec<Key> {
    let span = |kind, members: &[RankId]| GroupSpan::of_members(cluster, kind, members);
    let spans = groups.each_ref().map(|of_kind| of_kind.numbered(|members| span(of_kind.kind, members)));
    let ranks = || (0..mesh.ranks()).map(RankId);
    let share = |place: usize| {
        numbered(ranks().map(|rank| {
            let beyond = neighbours(mesh, rank)[place].filter(|&n| cluster.node_of(n) != cluster.node_of(rank));
            beyond.map(|n| cluster.path_share(rank, n))
        }))
    };
    let [previous, next] = [0, 1].map(share);
    let of_rank = |rank: RankId| {
        let [previous, next] = [&previous, &next].map(|shares| shares[rank.0 as usize]);
        key(&spans, rank, [mesh.coordinates(rank).pp, u32::from(cluster.kind_of(rank)), previous, next])
    };
    ranks().map(of_rank).collect()
}

fn key(of_groups: &[Vec<u32>; Group::COUNT], rank: RankId, besides: [u32; 4]) -> Key {
    let mut key = [0; Group::COUNT + 4];
    for (place, of_ranks) in key.iter_mut().zip(of_groups) {
        *place = of_ranks[rank.0 as usize];
    }
    key[Group::COUNT..].copy_from_slice(&besides);
    key
}

/// The same place on the stage before and after, around the ring of stages.
pub fn neighbours(mesh: Mesh, rank: RankId) -> [Option<RankId>; 2] {
    let (per_stage, ranks) = (mesh.per_stage(), mesh.ranks());
    let around = |steps: u32| (mesh.pp > 1).then(|| RankId((rank.0 + per_stage * steps) % ranks));
    [around(mesh.pp - 1), around(1)]
}

fn count(colors: &[u32]) -> u32 {
    colors.iter().max().map_or(0, |max| max + 1)
}

/// A rank's color and the colors that it meets: in its groups (as sets: what counts is who is waited for) and at its
/// pipeline neighbours.
fn seen(mesh: Mesh, colors: &[u32], groups: &[Groups; Group::COUNT]) -> Vec<Key> {
    let color = |rank: RankId| colors[rank.0 as usize];
    let met = groups.each_ref().map(|of_kind| {
        of_kind.numbered(|members| {
            let mut met: Vec<u32> = members.iter().map(|&rank| color(rank)).collect();
            met.sort_unstable();
            met.dedup();
            met
        })
    });
    let of_rank = |rank: RankId| {
        let [previous, next] = neighbours(mesh, rank).map(|n| n.map_or(u32::MAX, color));
        key(&met, rank, [color(rank), previous, next, 0])
    };
    (0..mesh.ranks()).map(|rank| of_rank(RankId(rank))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn a_regular_job_folds_to_one_class_per_stage() {
        for (preset, classes) in [("gpt3-175b-1024xa100", 8), ("llama3-405b-16384xh100", 16), ("llama2-7b-8xh100", 2)] {
            let scenario = Scenario::preset(preset).expect("a preset");
            let folding = Folding::classes(scenario.mesh(), scenario.cluster());
            assert_eq!(folding.classes.len(), classes, "{preset}");
            let ranks: u32 = folding.classes.iter().map(|class| class.ranks).sum();
            assert_eq!(ranks, scenario.mesh().ranks(), "{preset}: every rank is in one class");
        }
    }

    #[test]
    fn a_group_that_straddles_nodes_is_another_class() {
        let cluster = Scenario::preset("llama3-8b-16xh100").expect("a preset").cluster().clone();
        let folding = Folding::classes(
            Mesh { pp: 1, dp: 5, cp: 1, tp: 3, ep: 1, expert_tensor: 1, shard: 1, mirrored: false },
            &cluster,
        );
        assert!(folding.classes.len() > 1, "ranks 6..9 span two nodes of eight");
    }
}
