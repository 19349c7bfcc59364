//! Classes of identical ranks.
//!
//! Two ranks are identical when they run the same program, their groups cost the same, and the ranks they
//! communicate with are identical in turn: the coarsest equitable partition, found by refinement. Ranks of a class
//! then do everything at the same time, so one representative stands for all.

use std::collections::BTreeMap;

use crate::cluster::{Cluster, Group, Mesh, RankId, Share};
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

/// What makes two ranks different before looking at their neighbours: stage, kind of device, groups, and for both
/// neighbours what the network lets through to them where it must be crossed.
type Signature = (u32, u16, Vec<GroupSpan>, [Option<Share>; 2]);

impl Folding {
    /// Every rank for itself.
    pub fn unfolded(mesh: Mesh) -> Self {
        Self::from_colors(mesh, &(0..mesh.ranks()).collect::<Vec<_>>())
    }

    /// Identical ranks together.
    pub fn classes(mesh: Mesh, cluster: &Cluster) -> Self {
        let spans = Group::ALL.map(|group| group_spans(mesh, cluster, group));
        let signatures: Vec<Signature> =
            (0..mesh.ranks()).map(|rank| signature(mesh, cluster, &spans, RankId(rank))).collect();
        let mut colors = recolor(&signatures);
        loop {
            let neighbours: Vec<_> = (0..mesh.ranks()).map(|rank| seen_from(mesh, &colors, RankId(rank))).collect();
            let refined = recolor(&neighbours);
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

/// The span of the group of every rank; groups are enumerated once, by their first member.
fn group_spans(mesh: Mesh, cluster: &Cluster, group: Group) -> Vec<GroupSpan> {
    let mut spans: Vec<Option<GroupSpan>> = vec![None; mesh.ranks() as usize];
    for rank in (0..mesh.ranks()).map(RankId) {
        // A middle stage is no member of its tied-embedding group; it sees that group like its first stage.
        if spans[rank.0 as usize].is_none() {
            let members = mesh.members(group, rank);
            let span = GroupSpan::of_members(cluster, group, &members);
            for member in members.into_iter().chain([rank]) {
                spans[member.0 as usize] = Some(span);
            }
        }
    }
    spans.into_iter().flatten().collect()
}

fn signature(mesh: Mesh, cluster: &Cluster, spans: &[Vec<GroupSpan>; Group::COUNT], rank: RankId) -> Signature {
    let crosses = |neighbour: Option<RankId>| {
        let beyond = neighbour.filter(|&n| cluster.node_of(n) != cluster.node_of(rank));
        beyond.map(|n| cluster.path_share(rank, n))
    };
    let of_rank = spans.iter().map(|of_group| of_group[rank.0 as usize]).collect();
    (mesh.coordinates(rank).pp, cluster.kind_of(rank), of_rank, neighbours(mesh, rank).map(crosses))
}

/// The same place on the stage before and after, around the ring of stages.
pub(super) fn neighbours(mesh: Mesh, rank: RankId) -> [Option<RankId>; 2] {
    let (per_stage, ranks) = (mesh.per_stage(), mesh.ranks());
    let around = |steps: u32| (mesh.pp > 1).then(|| RankId((rank.0 + per_stage * steps) % ranks));
    [around(mesh.pp - 1), around(1)]
}

/// Numbers equal keys alike, in the order of the keys.
fn recolor<K: Ord>(keys: &[K]) -> Vec<u32> {
    let mut sorted: Vec<&K> = keys.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    keys.iter().map(|key| u32::try_from(sorted.partition_point(|k| *k < key)).unwrap_or(u32::MAX)).collect()
}

fn count(colors: &[u32]) -> u32 {
    colors.iter().max().map_or(0, |max| max + 1)
}

/// A rank's color and the colors that it meets: in its tensor and data groups (as sets: what counts is who is waited
/// for) and at its pipeline neighbours.
fn seen_from(mesh: Mesh, colors: &[u32], rank: RankId) -> (u32, Vec<Vec<u32>>) {
    let color = |rank: RankId| colors[rank.0 as usize];
    let set = |members: Vec<RankId>| {
        let mut colors: Vec<u32> = members.into_iter().map(color).collect();
        colors.sort_unstable();
        colors.dedup();
        colors
    };
    // All ranks meet the same in the world.
    let groups = Group::ALL.into_iter().filter(|&group| group != Group::World);
    let mut seen: Vec<Vec<u32>> = groups.map(|group| set(mesh.members(group, rank))).collect();
    seen.push(neighbours(mesh, rank).into_iter().map(|n| n.map_or(u32::MAX, color)).collect());
    (color(rank), seen)
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
        let folding =
            Folding::classes(Mesh { pp: 1, dp: 5, cp: 1, tp: 3, ep: 1, expert_tensor: 1, shard: 1 }, &cluster);
        assert!(folding.classes.len() > 1, "ranks 6..9 span two nodes of eight");
    }
}
