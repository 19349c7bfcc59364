//! The ranks, arranged on the axes `pp × dp × cp × tp` with `tp` innermost (Megatron-LM's default order). The experts
//! of a layer are spread over neighbouring ranks of a stage: `ep` is laid over `dp × cp`, and over `tp` too where
//! experts are not sliced.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A process of the job, numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct RankId(pub u32);

/// A set of ranks that communicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// Ranks that share a layer's weights by slices.
    Tensor,
    /// Ranks that share a sequence's tokens.
    Context,
    /// Ranks that hold copies of the same weights: replicas and context ranks.
    Data,
    /// The first and the last stage, which hold copies of a tied embedding.
    TiedEmbedding,
    /// All ranks that together hold one copy of the model: tensor × pipeline.
    Model,
    /// Copies that share what is sharded over them (ZeRO, FSDP).
    Shard,
    /// Ranks with the same place in different sharding groups.
    Replica,
    /// Ranks over which the experts of a layer are spread.
    Expert,
    /// Ranks that hold copies of the same experts.
    ExpertData,
    /// Copies of the same experts that share what is sharded over them.
    ExpertShard,
    /// Ranks with the same place in different groups of that kind.
    ExpertReplica,
    /// All ranks.
    World,
}

impl Group {
    /// All kinds of groups.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Tensor,
        Self::Context,
        Self::Data,
        Self::TiedEmbedding,
        Self::Model,
        Self::Shard,
        Self::Replica,
        Self::Expert,
        Self::ExpertData,
        Self::ExpertShard,
        Self::ExpertReplica,
        Self::World,
    ];

    /// How many kinds there are.
    pub const COUNT: usize = 12;

    /// The name of the axis in reports.
    pub fn axis(self) -> &'static str {
        match self {
            Self::Tensor => "tp",
            Self::Context => "cp",
            Self::Expert => "ep",
            Self::Data | Self::Shard | Self::Replica | Self::ExpertData | Self::ExpertShard | Self::ExpertReplica => {
                "dp"
            }
            Self::TiedEmbedding => "embedding",
            Self::Model | Self::World => "model",
        }
    }
}

/// An axis of the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MeshAxis {
    /// Tensor parallel.
    Tp,
    /// Context parallel.
    Cp,
    /// Data parallel.
    Dp,
    /// Pipeline parallel.
    Pp,
}

impl MeshAxis {
    /// All axes, from that whose ranks are neighbours to the outermost: Megatron-LM's default.
    pub const ALL: [Self; 4] = [Self::Tp, Self::Cp, Self::Dp, Self::Pp];
}

/// Where a rank stands on the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Coordinates {
    /// Pipeline stage.
    pub pp: u32,
    /// Data-parallel replica.
    pub dp: u32,
    /// Context-parallel slice of the sequence.
    pub cp: u32,
    /// Tensor-parallel slice.
    pub tp: u32,
}

/// Sizes of the axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Mesh {
    /// Pipeline stages.
    pub pp: u32,
    /// Data-parallel replicas.
    pub dp: u32,
    /// Context-parallel slices of a sequence.
    pub cp: u32,
    /// Tensor-parallel slices.
    pub tp: u32,
    /// Ranks over which the experts of a layer are spread; with `expert_tensor` divides the ranks of a stage.
    pub ep: u32,
    /// Slices of each expert: 1 or `tp`.
    pub expert_tensor: u32,
    /// Copies that share what is sharded over them; divides `copies`.
    pub shard: u32,
    /// Whether the pipeline holds two copies of the model, from both ends: a stage then has the same layers as its mirror
    /// image (DualPipe).
    pub mirrored: bool,
}

impl Mesh {
    /// Number of ranks.
    pub fn ranks(&self) -> u32 {
        self.pp * self.per_stage()
    }

    /// The device of every rank when devices are dealt out along `order`, its first axis innermost; none for the
    /// default order, in which ranks fill devices one after the other.
    pub fn devices_along(&self, order: [MeshAxis; 4]) -> Vec<u32> {
        if order == MeshAxis::ALL {
            return Vec::new();
        }
        let place = |rank: u32| {
            let at = self.coordinates(RankId(rank));
            let of_axis = |axis: MeshAxis| match axis {
                MeshAxis::Tp => (at.tp, self.tp),
                MeshAxis::Cp => (at.cp, self.cp),
                MeshAxis::Dp => (at.dp, self.dp),
                MeshAxis::Pp => (at.pp, self.pp),
            };
            order.iter().rev().fold(0, |place, &axis| place * of_axis(axis).1 + of_axis(axis).0)
        };
        (0..self.ranks()).map(place).collect()
    }

    /// Ranks of one pipeline stage.
    pub fn per_stage(&self) -> u32 {
        self.dp * self.cp * self.tp
    }

    /// Ranks that hold copies of the same dense weights.
    pub fn copies(&self) -> u32 {
        self.dp * self.cp * self.images()
    }

    /// Ranks that hold copies of the same experts.
    pub fn expert_copies(&self) -> u32 {
        self.per_stage() / (self.ep * self.expert_tensor) * self.images()
    }

    /// Stages that have the same layers: more than one where the pipeline holds two copies of the model.
    pub fn images(&self) -> u32 {
        if self.mirrored { 2 } else { 1 }
    }

    /// Those of stage `pp`, the first of them first, and the place of `pp` among them.
    fn images_of(&self, pp: u32) -> ([u32; 2], u32) {
        let image = if self.mirrored { self.pp - 1 - pp } else { pp };
        ([pp.min(image), pp.max(image)], u32::from(pp > image))
    }

    /// Copies of the same experts that share what is sharded over them: all, or about as many as of dense weights.
    pub fn expert_shard(&self) -> u32 {
        let copies = self.expert_copies();
        if self.shard == self.copies() { copies } else { gcd(copies, self.shard) }
    }

    /// The place of `rank` in its sharding group.
    pub fn slice_index(&self, rank: RankId) -> u32 {
        self.copy_index(rank) % self.shard
    }

    /// The place of `rank` among those that share what is sharded of dense weights, or of experts.
    pub fn shard_index(&self, rank: RankId, of_experts: bool) -> u32 {
        if of_experts { self.expert_place(rank).1 % self.expert_shard() } else { self.slice_index(rank) }
    }

    /// Which experts `rank` has, and which copy of them.
    pub fn expert_place(&self, rank: RankId) -> (u32, u32) {
        let own = self.images_of(self.coordinates(rank).pp).1;
        let place = rank.0 % self.per_stage() / self.expert_tensor;
        let index = own * (self.per_stage() / self.expert_tensor) + place;
        (index % self.ep, index / self.ep)
    }

    /// The number of a rank among the copies of its dense weights.
    fn copy_index(&self, rank: RankId) -> u32 {
        let at = self.coordinates(rank);
        (self.images_of(at.pp).1 * self.dp + at.dp) * self.cp + at.cp
    }

    /// How many groups of a kind there are.
    pub fn groups(&self, group: Group) -> u32 {
        match group {
            Group::TiedEmbedding => self.per_stage(),
            other => self.ranks() / self.group_size(other),
        }
    }

    /// The rank at `at`.
    pub fn rank(&self, at: Coordinates) -> RankId {
        RankId(((at.pp * self.dp + at.dp) * self.cp + at.cp) * self.tp + at.tp)
    }

    /// Where `rank` stands.
    pub fn coordinates(&self, rank: RankId) -> Coordinates {
        let (tp, rest) = (rank.0 % self.tp, rank.0 / self.tp);
        let (cp, rest) = (rest % self.cp, rest / self.cp);
        Coordinates { pp: rest / self.dp, dp: rest % self.dp, cp, tp }
    }

    /// The ranks of the group of kind `group` to which `rank` belongs, in ring order.
    pub fn members(&self, group: Group, rank: RankId) -> Vec<RankId> {
        let at = self.coordinates(rank);
        match group {
            Group::Tensor => (0..self.tp).map(|tp| self.rank(Coordinates { tp, ..at })).collect(),
            Group::Context => (0..self.cp).map(|cp| self.rank(Coordinates { cp, ..at })).collect(),
            Group::Data | Group::Shard | Group::Replica => self.copy_members(group, rank),
            Group::TiedEmbedding if self.pp == 1 => vec![rank],
            Group::TiedEmbedding => [0, self.pp - 1].map(|pp| self.rank(Coordinates { pp, ..at })).to_vec(),
            Group::Expert | Group::ExpertData | Group::ExpertShard | Group::ExpertReplica => {
                self.expert_members(group, rank)
            }
            Group::World => (0..self.ranks()).map(RankId).collect(),
            Group::Model => (0..self.pp)
                .flat_map(|pp| (0..self.tp).map(move |tp| (pp, tp)))
                .map(|(pp, tp)| self.rank(Coordinates { pp, tp, ..at }))
                .collect(),
        }
    }

    /// Copies of dense weights, on a stage and where there is one on its mirror image, those of the first first.
    fn copy_members(&self, group: Group, rank: RankId) -> Vec<RankId> {
        let at = self.coordinates(rank);
        let (images, of_stage) = (self.images_of(at.pp).0, self.dp * self.cp);
        let (first, step, n) = match group {
            Group::Data => (0, 1, self.copies()),
            _ => split_line(self.copy_index(rank), self.shard, self.copies(), group == Group::Shard),
        };
        let member = |copy: u32| {
            let first_of_stage = images[(copy / of_stage) as usize] * self.per_stage();
            RankId(first_of_stage + copy % of_stage * self.tp + at.tp)
        };
        (0..n).map(|i| member(first + i * step)).collect()
    }

    /// Experts are spread over neighbouring ranks of a stage, or where experts are sliced over those with the same
    /// slice.
    fn expert_members(&self, group: Group, rank: RankId) -> Vec<RankId> {
        let (place, lane) = (rank.0 % self.per_stage(), rank.0 % self.expert_tensor);
        // Ranks of the stages with the same layers are numbered one stage after the other.
        let (images, own) = self.images_of(self.coordinates(rank).pp);
        let of_stage = self.per_stage() / self.expert_tensor;
        let index = own * of_stage + place / self.expert_tensor;
        let (copy, copies) = (index / self.ep, self.expert_copies());
        let (first, step, n) = match group {
            Group::Expert => (copy * self.ep, 1, self.ep),
            Group::ExpertData => (index % self.ep, self.ep, copies),
            _ => {
                let (first, step, n) = split_line(copy, self.expert_shard(), copies, group == Group::ExpertShard);
                (first * self.ep + index % self.ep, step * self.ep, n)
            }
        };
        let member = |index: u32| {
            let first_of_stage = images[(index / of_stage) as usize] * self.per_stage();
            RankId(first_of_stage + index % of_stage * self.expert_tensor + lane)
        };
        (0..n).map(|i| member(first + i * step)).collect()
    }

    /// Number of ranks in a group.
    pub fn group_size(&self, group: Group) -> u32 {
        match group {
            Group::Tensor => self.tp,
            Group::Context => self.cp,
            Group::Data => self.copies(),
            Group::TiedEmbedding => self.pp.min(2),
            Group::Model => self.pp * self.tp,
            Group::Shard => self.shard,
            Group::Replica => self.copies() / self.shard,
            Group::Expert => self.ep,
            Group::ExpertData => self.expert_copies(),
            Group::ExpertShard => self.expert_shard(),
            Group::ExpertReplica => self.expert_copies() / self.expert_shard(),
            Group::World => self.ranks(),
        }
    }
}

impl fmt::Display for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pp {} × dp {}", self.pp, self.dp)?;
        if self.cp > 1 {
            write!(f, " × cp {}", self.cp)?;
        }
        write!(f, " × tp {}", self.tp)?;
        match (self.ep, self.expert_tensor) {
            (1, 1) => Ok(()),
            (ep, 1) => write!(f, ", ep {ep}"),
            (ep, tp) => write!(f, ", ep {ep} × {tp}"),
        }
    }
}

/// First, step and number of the line of places to which place `index` of `n` belongs: neighbours in blocks of
/// `block`, or those with the same place in all blocks.
fn split_line(index: u32, block: u32, n: u32, neighbours: bool) -> (u32, u32, u32) {
    if neighbours { (index / block * block, 1, block) } else { (index % block, block, n / block) }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meshes() -> [Mesh; 5] {
        let dense = Mesh { pp: 3, dp: 4, cp: 1, tp: 2, ep: 1, expert_tensor: 1, shard: 2, mirrored: false };
        let experts = Mesh { cp: 3, ep: 4, ..dense };
        let mirrored = Mesh { pp: 4, mirrored: true, ..experts };
        [
            dense,
            experts,
            Mesh { expert_tensor: 2, ..experts },
            mirrored,
            Mesh { expert_tensor: 2, shard: 24, ..mirrored },
        ]
    }

    #[test]
    fn coordinates_and_ranks_are_inverse() {
        for mesh in meshes() {
            for rank in (0..mesh.ranks()).map(RankId) {
                assert_eq!(mesh.rank(mesh.coordinates(rank)), rank);
            }
        }
    }

    #[test]
    fn every_rank_is_in_its_groups_and_sees_the_same_group_as_their_other_members() {
        for mesh in meshes() {
            for (rank, group) in (0..mesh.ranks()).flat_map(|rank| Group::ALL.map(|group| (RankId(rank), group))) {
                let members = mesh.members(group, rank);
                // A middle stage has no copy of a tied embedding.
                let outside = group == Group::TiedEmbedding && (1..mesh.pp - 1).contains(&mesh.coordinates(rank).pp);
                assert_eq!(members.contains(&rank), !outside, "{group:?} of {rank:?}");
                assert_eq!(members.len(), mesh.group_size(group) as usize);
                assert!(members.iter().all(|&member| mesh.members(group, member) == members), "{group:?}");
            }
        }
    }

    #[test]
    fn experts_lie_on_neighbours_unless_they_are_sliced() {
        let [_, whole, sliced, mirrored, _] = meshes();
        let numbers = |mesh: Mesh, group| mesh.members(group, RankId(0)).iter().map(|r| r.0).collect::<Vec<_>>();
        assert_eq!(numbers(whole, Group::Expert), [0, 1, 2, 3]);
        assert_eq!(numbers(whole, Group::ExpertData), [0, 4, 8, 12, 16, 20]);
        assert_eq!(numbers(sliced, Group::Expert), [0, 2, 4, 6]);
        assert_eq!(numbers(sliced, Group::ExpertData), [0, 8, 16]);
        // A stage of 24 ranks and the last of four.
        assert_eq!(numbers(mirrored, Group::ExpertData), [0, 4, 8, 12, 16, 20, 72, 76, 80, 84, 88, 92]);
        assert_eq!(numbers(mirrored, Group::Expert), [0, 1, 2, 3]);
    }
}
