//! When gradients of other replicas reach the parameters.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The rule as it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpdateName {
    /// Every step sums the gradients of all replicas.
    #[default]
    Synchronous,
    /// An update applies gradients of some steps before, which were summed meanwhile (Ho et al. 2013, "SSP"; Li et al.
    /// 2018, "Pipe-SGD").
    BoundedStaleness,
    /// Replicas push gradients to the owners of slices and pull parameters, and wait for nobody (Dean et al. 2012,
    /// "Downpour SGD"; Li et al. 2014, "Parameter server").
    Asynchronous,
    /// Replicas step by themselves, and now and then an outer optimizer moves all of them by the mean of what they did
    /// (Stich 2019, "Local SGD"; Douillard et al. 2023, "DiLoCo").
    LocalSgd,
}

impl UpdateName {
    /// All rules.
    pub const ALL: [Self; 4] = [Self::Synchronous, Self::BoundedStaleness, Self::Asynchronous, Self::LocalSgd];

    /// The name in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Synchronous => "synchronous",
            Self::BoundedStaleness => "bounded_staleness",
            Self::Asynchronous => "asynchronous",
            Self::LocalSgd => "local_sgd",
        }
    }
}

/// The rule with what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateRule {
    /// As [`UpdateName::Synchronous`].
    Synchronous,
    /// As [`UpdateName::BoundedStaleness`].
    BoundedStaleness {
        /// Steps between a gradient and its update.
        steps: u32,
    },
    /// As [`UpdateName::Asynchronous`].
    Asynchronous,
    /// As [`UpdateName::LocalSgd`].
    LocalSgd {
        /// Steps from one outer step to the next; none for a step without one.
        interval: Option<u32>,
    },
}

/// Inner steps of an outer one unless they are said (Douillard et al. 2023, section 3: 500; Jaghouar et al. 2024,
/// "OpenDiLoCo": 125 to 500).
pub const DEFAULT_INTERVAL: u32 = 500;

impl UpdateRule {
    /// Its name.
    pub fn name(self) -> UpdateName {
        match self {
            Self::Synchronous => UpdateName::Synchronous,
            Self::BoundedStaleness { .. } => UpdateName::BoundedStaleness,
            Self::Asynchronous => UpdateName::Asynchronous,
            Self::LocalSgd { .. } => UpdateName::LocalSgd,
        }
    }
}
