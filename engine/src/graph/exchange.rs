//! What ranks exchange: collectives of a group, and messages between neighbouring stages.

use serde::Serialize;

/// How the terms of a partial value are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// Added.
    Sum,
    /// The largest counts.
    Max,
}

/// What a collective does with the tensors of a group's ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Collective {
    /// Partial → replicated, in place.
    AllReduce(Reduction),
    /// Partial → sharded by rows.
    ReduceScatter,
    /// Sharded by rows → replicated.
    AllGather,
    /// Every rank has a part for every other: tokens to their experts, sequences to their heads.
    AllToAll,
    /// The same of rows of which up to `copies` are alike: those for several ranks of a node cross the network once.
    AllToAllOnce {
        /// Rows that are alike.
        copies: u32,
    },
    /// Every rank hands its value to the next of the ring.
    Shift,
    /// As a reduce-scatter, but a rank waits for no other: terms go to the owners of slices, each when it is ready.
    Push,
    /// As an all-gather of what the owners have now.
    Pull,
}

/// The way along the pipeline's ring of stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From a stage to the next; from the last to the first.
    Next,
    /// From a stage to the one before; from the first to the last.
    Previous,
}

/// What a send hands over: a send and a receive of one transfer and one micro-batch belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Transfer {
    /// To which neighbour.
    pub direction: Direction,
    /// Its number among all transfers of the step.
    pub number: u32,
}
