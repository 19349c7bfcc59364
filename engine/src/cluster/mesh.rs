//! The ranks, arranged on the axes `pp × dp × tp` with `tp` innermost (Megatron-LM's default order).

use serde::Serialize;

/// A process of the job, numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct RankId(pub u32);

/// A set of ranks that communicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// Ranks that share a layer's weights by slices.
    Tensor,
    /// Ranks that hold copies of the same weights.
    Data,
    /// The first and the last stage, which hold copies of a tied embedding.
    TiedEmbedding,
    /// All ranks that together hold one copy of the model: tensor × pipeline.
    Model,
    /// Replicas that share one copy of what is sharded over them (ZeRO, FSDP).
    Shard,
    /// Ranks with the same place in different sharding groups.
    Replica,
    /// All ranks.
    World,
}

impl Group {
    /// All kinds of groups.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Tensor, Self::Data, Self::TiedEmbedding, Self::Model, Self::Shard, Self::Replica, Self::World];

    /// How many kinds there are.
    pub const COUNT: usize = 7;

    /// The name of the axis in reports.
    pub fn axis(self) -> &'static str {
        match self {
            Self::Tensor => "tp",
            Self::Data | Self::Shard | Self::Replica => "dp",
            Self::TiedEmbedding => "embedding",
            Self::Model | Self::World => "model",
        }
    }
}

/// Where a rank stands on the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Coordinates {
    /// Pipeline stage.
    pub pp: u32,
    /// Data-parallel replica.
    pub dp: u32,
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
    /// Tensor-parallel slices.
    pub tp: u32,
    /// Replicas that share one copy of what is sharded over them; divides `dp`.
    pub shard: u32,
}

impl Mesh {
    /// Number of ranks.
    pub fn ranks(&self) -> u32 {
        self.pp * self.dp * self.tp
    }

    /// The place of `rank` in its sharding group.
    pub fn slice_index(&self, rank: RankId) -> u32 {
        self.coordinates(rank).dp % self.shard
    }

    /// How many groups of a kind there are.
    pub fn groups(&self, group: Group) -> u32 {
        match group {
            Group::TiedEmbedding => self.dp * self.tp,
            other => self.ranks() / self.group_size(other),
        }
    }

    /// Stages whose ranks are together in a group of a kind.
    pub fn stages_of(&self, group: Group) -> u32 {
        match group {
            Group::TiedEmbedding => self.pp.min(2),
            Group::Model | Group::World => self.pp,
            Group::Tensor | Group::Data | Group::Shard | Group::Replica => 1,
        }
    }

    /// The rank at `at`.
    pub fn rank(&self, at: Coordinates) -> RankId {
        RankId((at.pp * self.dp + at.dp) * self.tp + at.tp)
    }

    /// Where `rank` stands.
    pub fn coordinates(&self, rank: RankId) -> Coordinates {
        let (tp, rest) = (rank.0 % self.tp, rank.0 / self.tp);
        Coordinates { pp: rest / self.dp, dp: rest % self.dp, tp }
    }

    /// The ranks of the group of kind `group` to which `rank` belongs, in ring order.
    pub fn members(&self, group: Group, rank: RankId) -> Vec<RankId> {
        let at = self.coordinates(rank);
        match group {
            Group::Tensor => (0..self.tp).map(|tp| self.rank(Coordinates { tp, ..at })).collect(),
            Group::Data => (0..self.dp).map(|dp| self.rank(Coordinates { dp, ..at })).collect(),
            Group::TiedEmbedding if self.pp == 1 => vec![rank],
            Group::TiedEmbedding => [0, self.pp - 1].map(|pp| self.rank(Coordinates { pp, ..at })).to_vec(),
            Group::Shard => {
                let first = at.dp / self.shard * self.shard;
                (first..first + self.shard).map(|dp| self.rank(Coordinates { dp, ..at })).collect()
            }
            Group::Replica => {
                let same = (at.dp % self.shard..self.dp).step_by(self.shard as usize);
                same.map(|dp| self.rank(Coordinates { dp, ..at })).collect()
            }
            Group::World => (0..self.ranks()).map(RankId).collect(),
            Group::Model => (0..self.pp)
                .flat_map(|pp| (0..self.tp).map(move |tp| (pp, tp)))
                .map(|(pp, tp)| self.rank(Coordinates { pp, tp, ..at }))
                .collect(),
        }
    }

    /// Number of ranks in a group.
    pub fn group_size(&self, group: Group) -> u32 {
        match group {
            Group::Tensor => self.tp,
            Group::Data => self.dp,
            Group::TiedEmbedding => self.pp.min(2),
            Group::Model => self.pp * self.tp,
            Group::Shard => self.shard,
            Group::Replica => self.dp / self.shard,
            Group::World => self.ranks(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_and_ranks_are_inverse() {
        let mesh = Mesh { pp: 3, dp: 4, tp: 2, shard: 2 };
        for rank in (0..mesh.ranks()).map(RankId) {
            assert_eq!(mesh.rank(mesh.coordinates(rank)), rank);
            for group in Group::ALL {
                // A middle stage has no copy of a tied embedding.
                let outside = group == Group::TiedEmbedding && mesh.coordinates(rank).pp == 1;
                assert_eq!(mesh.members(group, rank).contains(&rank), !outside, "{group:?} of {rank:?}");
                assert_eq!(mesh.members(group, rank).len(), mesh.group_size(group) as usize);
            }
        }
    }
}
