//! How the device's memory is handed out: by an execution, and by a framework on the cluster.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Bytes;

/// The policy as it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PoolName {
    /// A value gets the smallest free buffer in which it fits without wasting half of it, or a new one.
    #[default]
    BestFit,
    /// All buffers are made before the step, as few bytes as lifetimes allow: what does not live at the same time shares
    /// one (Pisarchyk & Lee 2020, "Efficient Memory Management for Deep Neural Net Inference", shared objects).
    Reservation,
    /// A rank keeps within a budget on the device. What is not needed waits in the host's memory, that which is needed
    /// last first (Belady 1966); a step is the same every time, so what is needed when is known.
    Paging,
}

impl PoolName {
    /// All policies.
    pub const ALL: [Self; 3] = [Self::BestFit, Self::Reservation, Self::Paging];

    /// The name in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::BestFit => "best_fit",
            Self::Reservation => "reservation",
            Self::Paging => "paging",
        }
    }

    /// The policy, with a budget where it has one.
    pub fn with_budget(self, budget: Option<Bytes>) -> PoolPolicy {
        match self {
            Self::BestFit => PoolPolicy::BestFit,
            Self::Reservation => PoolPolicy::Reservation,
            Self::Paging => PoolPolicy::Paging { budget },
        }
    }
}

/// The policy with what belongs to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolPolicy {
    /// As [`PoolName::BestFit`].
    #[default]
    BestFit,
    /// As [`PoolName::Reservation`].
    Reservation,
    /// As [`PoolName::Paging`].
    Paging {
        /// What the buffers of a rank may take of the device; the least with which the step can run when left out.
        budget: Option<Bytes>,
    },
}

impl PoolPolicy {
    /// Which policy it is.
    pub fn name(self) -> PoolName {
        match self {
            Self::BestFit => PoolName::BestFit,
            Self::Reservation => PoolName::Reservation,
            Self::Paging { .. } => PoolName::Paging,
        }
    }
}

/// How a framework hands out a device's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AllocatorName {
    /// PyTorch's caching allocator with its defaults.
    #[default]
    Caching,
    /// The same with `expandable_segments:True`: segments grow by pages at their end.
    Expandable,
    /// A pointer that moves on; what was handed out last can be given back, the rest when the step ends.
    Bump,
    /// Lifetimes are known, so every value gets its address before the step (Pisarchyk & Lee 2020, "Efficient Memory
    /// Management for Deep Neural Net Inference", offset calculation).
    Offsets,
    /// Whole buffers that are used again where they fit: the executor's `best_fit`.
    BestFit,
    /// Whole buffers, made before the step: the executor's `reservation`.
    Reservation,
    /// Within the device's capacity, with what is needed last in the host's memory: the executor's `paging`.
    Paging,
}

impl AllocatorName {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Caching, Self::Expandable, Self::Bump, Self::Offsets, Self::BestFit, Self::Reservation, Self::Paging];

    /// The name in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Caching => "caching",
            Self::Expandable => "expandable",
            Self::Bump => "bump",
            Self::Offsets => "offsets",
            Self::BestFit => "best_fit",
            Self::Reservation => "reservation",
            Self::Paging => "paging",
        }
    }
}
