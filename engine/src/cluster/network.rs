//! How nodes are joined: the network as it is written, and as it was checked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A kind of network between nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NetworkKind {
    /// Any two adapters at their full rate.
    #[default]
    NonBlocking,
    /// Adapters of neighbouring nodes share a leaf switch; leaves are joined by a spine (Leiserson 1985, "Fat-trees").
    LeafSpine,
    /// The adapters with one number, of all nodes of a pod, share a leaf switch: a rail (Wang et al. 2023).
    Rails,
    /// Nodes are joined to their neighbours along each dimension, around (Jouppi et al. 2023, "TPU v4").
    Torus,
    /// Groups of nodes, every two of them joined (Kim et al. 2008, "Dragonfly"), by the shortest way.
    Dragonfly,
}

impl NetworkKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::NonBlocking, Self::LeafSpine, Self::Rails, Self::Torus, Self::Dragonfly];

    /// The name in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::NonBlocking => "non_blocking",
            Self::LeafSpine => "leaf_spine",
            Self::Rails => "rails",
            Self::Torus => "torus",
            Self::Dragonfly => "dragonfly",
        }
    }
}

/// What an all-reduce is carried out by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlgorithmChoice {
    /// The fastest for the size of the message of ring, double tree and the switches: among these NCCL chooses.
    #[default]
    Auto,
    /// A ring over all ranks.
    Ring,
    /// A binary tree.
    BinaryTree,
    /// A binary tree, and the same tree mirrored, each for half of the message (Sanders et al. 2009).
    DoubleTree,
    /// Reduce-scatter inside nodes, all-reduce between them, all-gather inside.
    Hierarchical,
    /// Every rank sends its part to every other at once.
    Direct,
    /// By the switches, where they can.
    InNetwork,
}

impl AlgorithmChoice {
    /// All choices.
    pub const ALL: [Self; 7] =
        [Self::Auto, Self::Ring, Self::BinaryTree, Self::DoubleTree, Self::Hierarchical, Self::Direct, Self::InNetwork];

    /// The name in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Ring => "ring",
            Self::BinaryTree => "binary_tree",
            Self::DoubleTree => "double_tree",
            Self::Hierarchical => "hierarchical",
            Self::Direct => "direct",
            Self::InNetwork => "in_network",
        }
    }
}

/// The network as it is written in a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkFile {
    /// `non_blocking`, `leaf_spine`, `rails`, `torus` or `dragonfly`.
    #[serde(default)]
    pub kind: NetworkKind,
    /// Nodes of a leaf switch, of a pod of rails, or of a dragonfly's group; 4, 32 and 16 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes_per_leaf: Option<u32>,
    /// Bandwidth into a leaf from its nodes over that out of it to other leaves; 1 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oversubscription: Option<f64>,
    /// Nodes along every dimension of a torus; their product is the number of nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dims: Vec<u32>,
    /// Whether messages that are under way at the same time share links (max-min fair); else each has its links alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub contention: bool,
    /// What all-reduces are carried out by: `auto`, `ring`, `binary_tree`, `double_tree`, `hierarchical`,
    /// `direct` or `in_network`.
    #[serde(default)]
    pub all_reduce: AlgorithmChoice,
}

/// A checked network.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Any two adapters at their full rate.
    NonBlocking,
    /// Leaf switches joined by a spine.
    LeafSpine {
        /// Nodes of a leaf.
        nodes: u32,
        /// Bandwidth in over bandwidth out.
        oversubscription: f64,
    },
    /// A leaf switch for every adapter number of a pod.
    Rails {
        /// Nodes of a pod.
        nodes: u32,
        /// Bandwidth in over bandwidth out.
        oversubscription: f64,
    },
    /// Neighbours along each dimension.
    Torus {
        /// Nodes along each.
        dims: Vec<u32>,
    },
    /// Groups, every two of them joined.
    Dragonfly {
        /// Nodes of a group.
        nodes: u32,
        /// Bandwidth of a group's nodes over that to other groups.
        oversubscription: f64,
    },
}
