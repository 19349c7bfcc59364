//! What lives outside the device's memory.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where something lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In the device's memory.
    #[default]
    Device,
    /// In the host's memory (Ren et al. 2021, "ZeRO-Offload").
    Host,
    /// On the host's solid-state drives, by way of its memory (Rajbhandari et al. 2021, "ZeRO-Infinity").
    Nvme,
}

impl Place {
    /// All places.
    pub const ALL: [Self; 3] = [Self::Device, Self::Host, Self::Nvme];

    /// The name in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Host => "host",
            Self::Nvme => "nvme",
        }
    }
}
